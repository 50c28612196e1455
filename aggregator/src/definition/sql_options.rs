//! `WITH (…)` of the SQL form: what ksqlDB has no words for. Each option is a setting of the other form, under its name.

use super::{Dedup, Definition, Keep, Limit, Moment, Paths, Shape, TimeSource, Top, words};
use crate::duration_text;
use std::{collections::BTreeMap, str::FromStr};

const OPTIONS: [&str; 17] = [
    "TIMESTAMP",
    "IDLE_CLOSE",
    "MAX_FUTURE",
    "PARTITIONS",
    "DEDUP_BY",
    "KEEP",
    "LIMIT_BY",
    "LIMIT",
    "BEGIN",
    "OPEN",
    "CLOSE",
    "TOP",
    "TOP_PER",
    "TOP_BY",
    "SHAPE",
    "EARLY",
    "CORRECTIONS",
];

/// Name in capitals -> text.
#[derive(Debug, Default)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    pub fn add(&mut self, name: String, value: String) -> Result<(), String> {
        if !OPTIONS.contains(&name.as_str()) {
            return Err(format!("there is no option `{name}`{}", words::nearest(&name, &OPTIONS)));
        }
        match self.0.insert(name.clone(), value) {
            Some(_) => Err(format!("{name} stands twice")),
            None => Ok(()),
        }
    }

    pub fn apply(mut self, definition: &mut Definition) -> Result<(), String> {
        if let Some(field) = self.take("TIMESTAMP") {
            definition.time = if field == "append" { TimeSource::Append } else { TimeSource::Field(field) };
        }
        if let Some(time) = self.take("IDLE_CLOSE") {
            definition.idle_close = duration_text::parse(&time)?;
        }
        if let Some(time) = self.take("MAX_FUTURE") {
            definition.max_future = duration_text::parse(&time)?;
        }
        if let Some(partitions) = self.number("PARTITIONS")? {
            definition.partitions = partitions;
        }
        definition.early = self.take("EARLY").map(|time| duration_text::parse(&time)).transpose()?;
        definition.corrections = self.take("CORRECTIONS").map(|time| duration_text::parse(&time)).transpose()?;
        definition.begin = self.moment("BEGIN")?;
        definition.open = self.moment("OPEN")?;
        definition.close = self.moment("CLOSE")?;
        self.votes(definition)?;
        self.top(definition)?;
        match self.0.pop_first() {
            Some((name, _)) => Err(format!("{name} says nothing by itself")),
            None => Ok(()),
        }
    }

    fn votes(&mut self, definition: &mut Definition) -> Result<(), String> {
        if let Some(by) = self.paths("DEDUP_BY") {
            let keep = match self.take("KEEP").as_deref() {
                None | Some("first") => Keep::First,
                Some("last") => Keep::Last,
                Some(other) => return Err(format!("KEEP is 'first' or 'last', not `{other}`")),
            };
            definition.dedup = Some(Dedup { by: Paths::Several(by), keep });
        }
        if let Some(by) = self.paths("LIMIT_BY") {
            let max = self.number("LIMIT")?.ok_or("LIMIT_BY needs LIMIT, as in LIMIT = 20")?;
            definition.limit = Some(Limit { by: Paths::Several(by), max });
        }
        Ok(())
    }

    fn top(&mut self, definition: &mut Definition) -> Result<(), String> {
        if let Some(n) = self.number("TOP")? {
            let (per, by) = (self.paths("TOP_PER").unwrap_or_default(), self.take("TOP_BY"));
            definition.top = Some(Top { n, per, by: by.unwrap_or_else(|| "count".to_owned()) });
        }
        definition.shape = match self.take("SHAPE").as_deref() {
            None | Some("row") => Shape::Row,
            Some("window") => Shape::Window,
            Some(other) => return Err(format!("SHAPE is 'row' or 'window', not `{other}`")),
        };
        Ok(())
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn moment(&mut self, name: &str) -> Result<Option<Moment>, String> {
        self.take(name).map(|text| Moment::parse(&text)).transpose()
    }

    fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let number = |text: String| text.parse().map_err(|_| format!("`{text}` is no number for {name}"));
        self.take(name).map(number).transpose()
    }

    /// `'user_id, poll_id'`.
    fn paths(&mut self, name: &str) -> Option<Vec<String>> {
        self.take(name).map(|text| text.split(',').map(|path| path.trim().to_owned()).collect())
    }
}
