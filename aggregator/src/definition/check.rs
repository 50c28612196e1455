//! What a definition's types do not say: [`Definition::validate`], one check a part, each error with its field.

use super::{
    Definition, DefinitionError, Function, LEAST_MAX_DISTINCT, MAX_FIELDS, MAX_GROUP_FIELDS,
    MAX_GROUPS_OF_ALL_PARTITIONS, MAX_MEASURES, MAX_PATH_SEGMENTS, Paths, Shape, TimeSource, Window, last_segment,
    shape::MAX_TOP, words,
};
use std::{fmt, time::Duration};

const LONGEST_TIME: Duration = Duration::from_secs(366 * 86_400);
/// What a row says of itself; the last three stand in records of shape "window" only.
const RESERVED_FIELDS: [&str; 8] = ["window_start", "window_end", "rev", "final", "approx", "total", "groups", "top"];
/// Kafka's limit for topic names.
const MAX_TOPIC_NAME: usize = 249;
/// Early rows do not come closer together.
const SHORTEST_EARLY: Duration = Duration::from_millis(10);
/// Most events of one user that `limit` lets through.
const MAX_LIMIT: usize = 10_000;

impl Definition {
    /// Checks what the types do not.
    pub fn validate(&self) -> Result<(), DefinitionError> {
        self.check_topics()?;
        self.check_group()?;
        self.check_measures()?;
        self.check_votes()?;
        self.check_paths()?;
        self.check_top()?;
        self.check_session()?;
        self.check_corrections()?;
        self.check_row_fields()?;
        self.check_times()?;
        self.check_limits()
    }

    fn check_topics(&self) -> Result<(), DefinitionError> {
        let (late, bad, snapshot) = (self.late_topic(), self.bad_topic(), self.snapshot_topic());
        let topics = [("from", &self.from), ("into", &self.into), ("late", &late), ("bad", &bad), ("name", &snapshot)];
        for (field, topic) in topics.into_iter().chain([("name", &self.name)]) {
            check_topic_name(topic).map_err(|reason| self.error(field, reason))?;
        }
        for (index, (field, topic)) in topics.iter().enumerate() {
            if let Some((other, _)) = topics.iter().take(index).find(|(_, earlier)| earlier == topic) {
                return Err(self.error(field, format!("topic `{topic}` is already used as `{other}`")));
            }
        }
        Ok(())
    }

    fn check_group(&self) -> Result<(), DefinitionError> {
        if self.group_by.is_empty() || self.group_by.len() > MAX_GROUP_FIELDS {
            return Err(self.error("group_by", format!("name 1 to {MAX_GROUP_FIELDS} fields")));
        }
        for (index, path) in self.group_by.iter().enumerate() {
            if self.group_by.iter().take(index).any(|earlier| earlier == path) {
                return Err(self.error("group_by", format!("`{path}` stands twice")));
            }
        }
        Ok(())
    }

    fn check_measures(&self) -> Result<(), DefinitionError> {
        if self.measure.is_empty() || self.measure.len() > MAX_MEASURES {
            return Err(
                self.error("measure", format!("name 1 to {MAX_MEASURES} measures, as in {{ count = \"count()\" }}"))
            );
        }
        for (name, measure) in &self.measure {
            if name.is_empty() || self.reserved().contains(&name.as_str()) {
                return Err(self.error("measure", format!("`{name}` cannot be the name of a measure")));
            }
            if let Function::Share(paths) = &measure.function {
                paths.iter().try_for_each(|path| self.check_is_grouped("measure", path))?;
            }
        }
        Ok(())
    }

    fn check_is_grouped(&self, field: &'static str, path: &String) -> Result<(), DefinitionError> {
        if self.group_by.contains(path) {
            return Ok(());
        }
        let known: Vec<&str> = self.group_by.iter().map(String::as_str).collect();
        Err(self.error(field, format!("`{path}` is not in `group_by`{}", words::nearest(path, &known))))
    }

    fn check_votes(&self) -> Result<(), DefinitionError> {
        if let Some(dedup) = &self.dedup {
            dedup.by.check().map_err(|reason| self.error("dedup", reason))?;
        }
        if let Some(limit) = &self.limit {
            limit.by.check().map_err(|reason| self.error("limit", reason))?;
            if limit.max == 0 || limit.max > MAX_LIMIT {
                return Err(self.error("limit", format!("`max` is 1 to {MAX_LIMIT}")));
            }
        }
        match (&self.open, &self.close) {
            (Some(open), Some(close)) if close.ms <= open.ms => {
                Err(self.error("close", format!("{} is not after `open`, {}", close.as_str(), open.as_str())))
            }
            _ => Ok(()),
        }
    }

    /// Every path that is read, with the setting that names it.
    fn paths(&self) -> Vec<(&'static str, &str)> {
        let time = match &self.time {
            TimeSource::Field(path) => Some(("time", path.as_str())),
            TimeSource::Append => None,
        };
        let group = self.group_by.iter().map(|path| ("group_by", path.as_str()));
        let measured = self.measure.values().filter_map(|measure| measure.function.path());
        let conditions = self.measure.values().filter_map(|measure| measure.condition.as_ref());
        let measured =
            measured.chain(conditions.map(|condition| condition.path.as_str())).map(|path| ("measure", path));
        let dedup = self.dedup.iter().flat_map(|dedup| voters("dedup", &dedup.by));
        let limit = self.limit.iter().flat_map(|limit| voters("limit", &limit.by));
        time.into_iter().chain(group).chain(measured).chain(dedup).chain(limit).collect()
    }

    fn check_paths(&self) -> Result<(), DefinitionError> {
        let paths = self.paths();
        for (index, (field, path)) in paths.iter().enumerate() {
            check_path(path).map_err(|reason| self.error(field, reason))?;
            let earlier = paths.iter().take(index);
            if let Some((_, other)) = earlier.clone().find(|(_, other)| path != other && overlap(path, other)) {
                return Err(
                    self.error(field, format!("one of `{path}` and `{other}` is an object that holds the other"))
                );
            }
            if *field == "group_by" && earlier.clone().any(|(other, at)| *other == "time" && at == path) {
                return Err(self.error(field, format!("`{path}` is the event's time, of which windows are made")));
            }
        }
        let mut different: Vec<&str> = paths.iter().map(|(_, path)| *path).collect();
        different.sort_unstable();
        different.dedup();
        if different.len() > MAX_FIELDS {
            return Err(self.error("measure", format!("an aggregate reads at most {MAX_FIELDS} fields of an event")));
        }
        Ok(())
    }

    fn check_top(&self) -> Result<(), DefinitionError> {
        let Some(top) = &self.top else {
            return match self.shape {
                Shape::Row => Ok(()),
                Shape::Window => {
                    Err(self.error("shape", "\"window\" needs `top`, as in { n = 10, per = [\"channel_id\"] }"))
                }
            };
        };
        if top.n == 0 || top.n > MAX_TOP {
            return Err(self.error("top", format!("`n` is 1 to {MAX_TOP}")));
        }
        top.per.iter().try_for_each(|path| self.check_is_grouped("top", path))?;
        if self.shape == Shape::Window && top.per.len() == self.group_by.len() {
            return Err(self.error("top", "`per` names all of `group_by`: nothing is left for the top"));
        }
        match self.measure.get(&top.by).map(|measure| &measure.function) {
            Some(Function::Fastest { .. }) => Err(self.error("top", format!("`{}` is no number", top.by))),
            Some(_) => Ok(()),
            None => {
                let known: Vec<&str> = self.measure.keys().map(String::as_str).collect();
                Err(self.error("top", format!("there is no measure `{}`{}", top.by, words::nearest(&top.by, &known))))
            }
        }
    }

    /// Each group has sessions of its own: there is no window that several groups are in.
    fn check_session(&self) -> Result<(), DefinitionError> {
        let Window::Session(_) = self.window else { return Ok(()) };
        let shares = self.measure.values().any(|measure| matches!(measure.function, Function::Share(_)));
        let missing = [
            ("dedup", self.dedup.is_some()),
            ("limit", self.limit.is_some()),
            ("top", self.top.is_some()),
            ("early", self.early.is_some()),
            ("measure", shares),
        ];
        match missing.into_iter().find(|(_, used)| *used) {
            Some(("measure", _)) => {
                Err(self.error("measure", "share() is of a window with several groups; a session has one"))
            }
            Some((field, _)) => Err(self.error(field, "is not there for sessions")),
            None => Ok(()),
        }
    }

    /// Closed windows are kept for corrections: they must leave room for those that are open.
    fn check_corrections(&self) -> Result<(), DefinitionError> {
        let Some(corrections) = self.corrections else { return Ok(()) };
        if !matches!(self.window, Window::Tumble(_) | Window::Hop { .. }) {
            return Err(self.error("corrections", "are there for tumbling and hopping windows only"));
        }
        if self.dedup.is_some() || self.limit.is_some() {
            return Err(
                self.error("corrections", "are not there for votes: one that comes too late is in the late topic")
            );
        }
        let (size, every) = self.window.times();
        let kept = (corrections + size).as_millis() / every.as_millis().max(1);
        if corrections < every || usize::try_from(kept).unwrap_or(usize::MAX) > self.max_open_windows / 2 {
            let reason =
                "must be as long as a step of the window, and not longer than half of max_open_windows of them";
            return Err(self.error("corrections", reason));
        }
        Ok(())
    }

    fn reserved(&self) -> &'static [&'static str] {
        match self.shape {
            Shape::Row => RESERVED_FIELDS.split_at(5).0,
            Shape::Window => &RESERVED_FIELDS,
        }
    }

    fn check_row_fields(&self) -> Result<(), DefinitionError> {
        let mut names: Vec<&str> =
            self.reserved().iter().copied().chain(self.measure.keys().map(String::as_str)).collect();
        for path in &self.group_by {
            let name = last_segment(path);
            if names.contains(&name) {
                return Err(self.error("group_by", format!("`{path}`: the row has a field `{name}` already")));
            }
            names.push(name);
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), DefinitionError> {
        self.window.check().map_err(|reason| self.error("window", reason))?;
        let times = [
            ("window", self.window.times().0),
            ("grace", self.grace),
            ("idle_close", self.idle_close),
            ("max_future", self.max_future),
        ];
        match times.into_iter().find(|(_, time)| *time > LONGEST_TIME) {
            Some((field, _)) => Err(self.error(field, "longer than a year")),
            None if self.early.is_some_and(|early| early < SHORTEST_EARLY) => {
                Err(self.error("early", "must be at least 10ms"))
            }
            None if self.idle_close.is_zero() => Err(self.error("idle_close", "must be at least 1ms")),
            None => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), DefinitionError> {
        let partitions = usize::try_from(self.partitions).unwrap_or(0);
        if partitions == 0 {
            return Err(self.error("partitions", "must be at least 1"));
        }
        if self.max_open_windows == 0 || self.max_groups == 0 || self.max_voters == 0 || self.snapshot_every == 0 {
            let names = "max_groups, max_voters, max_open_windows and snapshot_every";
            return Err(self.error("max_groups", format!("{names} must be at least 1")));
        }
        if partitions.saturating_mul(self.max_groups) > MAX_GROUPS_OF_ALL_PARTITIONS {
            let reason = format!("partitions x max_groups must not be over {MAX_GROUPS_OF_ALL_PARTITIONS}");
            return Err(self.error("max_groups", reason));
        }
        if self.max_distinct < LEAST_MAX_DISTINCT {
            return Err(self.error("max_distinct", format!("must be at least {LEAST_MAX_DISTINCT}")));
        }
        Ok(())
    }

    fn error(&self, field: &'static str, reason: impl fmt::Display) -> DefinitionError {
        DefinitionError { aggregate: self.name.clone(), field, reason: reason.to_string() }
    }
}

fn voters<'p>(field: &'static str, paths: &'p Paths) -> impl Iterator<Item = (&'static str, &'p str)> {
    paths.as_slice().iter().map(move |path| (field, path.as_str()))
}

fn check_topic_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > MAX_TOPIC_NAME || name == "." || name == ".." || !name.chars().all(legal) {
        return Err(format!("`{name}` is not a name: 1 to {MAX_TOPIC_NAME} of a-z A-Z 0-9 . _ -"));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), String> {
    if path.split('.').any(str::is_empty) {
        return Err(format!("`{path}` is not a path: names separated by dots, as in `metadata.reaction`"));
    }
    if path.split('.').count() > MAX_PATH_SEGMENTS {
        return Err(format!("`{path}` is deeper than {MAX_PATH_SEGMENTS} names"));
    }
    Ok(())
}

/// Equal, or one is an object on the way to the other.
fn overlap(left: &str, right: &str) -> bool {
    left.split('.').zip(right.split('.')).all(|(a, b)| a == b)
}
