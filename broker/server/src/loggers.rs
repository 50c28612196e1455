//! Levels of the log, by logger, as `kafka-configs --entity-type broker-loggers` shows and changes them (KIP-412).
//!
//! A logger is a part of this program (`tifo_broker`) or a module in it (`tifo_broker::api`); `root` stands for all that have no level of their own.
//! Levels hold as long as the process, as in Kafka. What writes the log belongs to the binary, which says how a filter is put in force; until then,
//! and without one, there are no loggers.

use crate::{errors::RequestError, settings::Settings};
use parking_lot::Mutex;
use std::{collections::BTreeMap, fmt};

/// The logger of all that have no level of their own.
pub const ROOT: &str = "root";
/// What writes lines.
const PARTS: &[&str] = &[
    "rumqttd",
    "tifo",
    "tifo_aggregator",
    "tifo_broker",
    "tifo_coordinator",
    "tifo_http_gateway",
    "tifo_mqtt_gateway",
    "tifo_storage",
];
/// Most loggers with a level of their own, and bytes in a name of one.
const MAX_LOGGERS: usize = 1000;
const MAX_NAME_BYTES: usize = 200;

/// Kafka's names of levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// No line of ours is so grave: nothing is written.
    Fatal,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::Fatal, "FATAL", "off"),
        (Self::Error, "ERROR", "error"),
        (Self::Warn, "WARN", "warn"),
        (Self::Info, "INFO", "info"),
        (Self::Debug, "DEBUG", "debug"),
        (Self::Trace, "TRACE", "trace"),
    ];

    /// By Kafka's name.
    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, kafkas, _)| *kafkas == name).map(|(level, ..)| *level)
    }

    /// By the word of a filter.
    fn of_filter(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(.., word_of)| word_of.eq_ignore_ascii_case(word)).map(|(level, ..)| *level)
    }

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(level, ..)| *level == self).map_or("", |(_, name, _)| name)
    }

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(level, ..)| *level == self).map_or("", |(.., word)| word)
    }
}

/// Puts a filter in `tracing`'s words in force.
pub type PutInForce = Box<dyn Fn(&str) -> Result<(), String> + Send>;

/// The levels of this process.
#[derive(Default)]
pub struct Loggers(Mutex<Option<State>>);

struct State {
    levels: BTreeMap<String, Level>,
    /// Parts of the filter that name more than a logger (spans, fields): they stay.
    others: Vec<String>,
    put_in_force: PutInForce,
}

impl fmt::Debug for Loggers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.all()).finish()
    }
}

impl Loggers {
    /// From now on levels can be asked and altered; `filter` is what is in force.
    pub fn connect(&self, filter: &str, put_in_force: PutInForce) {
        let (mut levels, mut others) = (BTreeMap::from([(ROOT.to_owned(), Level::Error)]), Vec::new());
        for part in parts(filter) {
            match read(part) {
                Some((logger, level)) => drop(levels.insert(logger.to_owned(), level)),
                None => others.push(part.to_owned()),
            }
        }
        *self.0.lock() = Some(State { levels, others, put_in_force });
    }

    /// Every logger with the level in force.
    pub fn all(&self) -> Vec<(String, Level)> {
        let state = self.0.lock();
        let Some(state) = state.as_ref() else { return Vec::new() };
        let mut names: Vec<&str> = state.levels.keys().map(String::as_str).chain(PARTS.iter().copied()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| (name.to_owned(), state.level_of(name))).collect()
    }

    /// Replaces the levels that loggers have of their own by what `change` makes of them.
    pub fn alter(
        &self,
        validate_only: bool,
        change: impl FnOnce(&Settings) -> Result<Settings, RequestError>,
    ) -> Result<(), RequestError> {
        let mut state = self.0.lock();
        let Some(state) = state.as_mut() else { return Err(RequestError::InvalidConfig(no_logger(ROOT))) };
        let present = state.levels.iter().map(|(name, level)| (name.clone(), level.name().to_owned())).collect();
        let levels = checked(&change(&present)?)?;
        if validate_only || levels == state.levels {
            return Ok(());
        }
        let filter = State::filter(&levels, &state.others);
        (state.put_in_force)(&filter).map_err(RequestError::Unexpected)?;
        tracing::info!(filter, "log levels altered");
        state.levels = levels;
        Ok(())
    }
}

impl State {
    /// Its own, or that of the nearest module around it.
    fn level_of(&self, logger: &str) -> Level {
        let mut name = logger;
        loop {
            if let Some(level) = self.levels.get(name) {
                return *level;
            }
            match name.rsplit_once("::") {
                Some((around, _)) => name = around,
                None => return self.levels.get(ROOT).copied().unwrap_or(Level::Error),
            }
        }
    }

    fn filter(levels: &BTreeMap<String, Level>, others: &[String]) -> String {
        let directives = levels.iter().map(|(name, level)| match name.as_str() {
            ROOT => level.word().to_owned(),
            logger => format!("{logger}={}", level.word()),
        });
        others.iter().cloned().chain(directives).collect::<Vec<_>>().join(",")
    }
}

fn checked(settings: &Settings) -> Result<BTreeMap<String, Level>, RequestError> {
    if settings.len() > MAX_LOGGERS {
        return Err(RequestError::InvalidConfig(format!("No more than {MAX_LOGGERS} loggers can have a level.")));
    }
    let levels = settings.iter().map(|(name, level)| {
        check_name(name)?;
        let unknown = || {
            let valid = Level::ALL.map(|(_, name, _)| name).join(", ");
            RequestError::InvalidConfig(format!(
                "Cannot set the log level of {name} to {level} as it is not a supported log level. Valid log levels are {valid}"
            ))
        };
        Ok((name.clone(), Level::named(level).ok_or_else(unknown)?))
    });
    levels.collect()
}

/// Whether there is such a logger: one of the parts, or a module in one.
pub fn check_name(name: &str) -> Result<(), RequestError> {
    let (part, module) = name.split_once("::").unwrap_or((name, ""));
    let is_module = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
    let is_there = name == ROOT || PARTS.contains(&part);
    match is_there && is_module(module) && name.len() <= MAX_NAME_BYTES {
        true => Ok(()),
        false => Err(RequestError::InvalidConfig(no_logger(name))),
    }
}

fn no_logger(name: &str) -> String {
    format!("Logger {name} does not exist!")
}

/// What commas part, unless they stand in brackets.
fn parts(filter: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let split = filter.split(move |letter| {
        depth += match letter {
            '[' | '{' => 1,
            ']' | '}' => -1,
            _ => 0,
        };
        letter == ',' && depth <= 0
    });
    split.map(str::trim).filter(|part| !part.is_empty())
}

/// A directive that names a logger and its level.
fn read(directive: &str) -> Option<(&str, Level)> {
    match directive.split_once('=') {
        Some((logger, word)) if check_name(logger).is_ok() && logger != ROOT => Some((logger, Level::of_filter(word)?)),
        Some(_) => None,
        None => Level::of_filter(directive).map(|level| (ROOT, level)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn connected(filter: &str) -> (Loggers, Arc<Mutex<String>>) {
        let (loggers, in_force) = (Loggers::default(), Arc::new(Mutex::new(String::new())));
        let put = in_force.clone();
        loggers.connect(
            filter,
            Box::new(move |filter| {
                *put.lock() = filter.to_owned();
                Ok(())
            }),
        );
        (loggers, in_force)
    }

    fn level(loggers: &Loggers, name: &str) -> Option<&'static str> {
        loggers.all().into_iter().find(|(other, _)| other == name).map(|(_, level)| level.name())
    }

    fn set(name: &str, level: &str) -> impl FnOnce(&Settings) -> Result<Settings, RequestError> {
        let (name, level) = (name.to_owned(), level.to_owned());
        move |present| Ok(present.clone().into_iter().chain([(name, level)]).collect())
    }

    #[test]
    fn levels_are_those_of_the_filter() {
        let (loggers, _) = connected("rumqttd=error,info,tifo_broker=debug,tifo_broker[span{a=1,b=2}]=trace");
        assert_eq!(level(&loggers, ROOT), Some("INFO"));
        assert_eq!(level(&loggers, "tifo_broker"), Some("DEBUG"));
        assert_eq!(level(&loggers, "rumqttd"), Some("ERROR"));
        assert_eq!(level(&loggers, "tifo_storage"), Some("INFO"));
        assert_eq!(level(&loggers, "kafka.server.KafkaApis"), None);
        assert!(Loggers::default().all().is_empty());
    }

    #[test]
    fn what_is_altered_is_put_in_force() {
        let (loggers, in_force) = connected("info,x[y]=trace");
        loggers.alter(true, set("tifo_broker", "DEBUG")).unwrap();
        assert_eq!(*in_force.lock(), "", "validated only");
        loggers.alter(false, set("tifo_broker", "DEBUG")).unwrap();
        loggers.alter(false, set("tifo_broker::api", "FATAL")).unwrap();
        assert_eq!(*in_force.lock(), "x[y]=trace,info,tifo_broker=debug,tifo_broker::api=off");
        assert_eq!(level(&loggers, "tifo_broker::api"), Some("FATAL"));
        loggers.alter(false, |_| Ok(Settings::from([(ROOT.to_owned(), "WARN".to_owned())]))).unwrap();
        assert_eq!((level(&loggers, "tifo_broker"), in_force.lock().as_str()), (Some("WARN"), "x[y]=trace,warn"));
    }

    #[test]
    fn what_there_is_not_is_refused() {
        let (loggers, in_force) = connected("info");
        for (name, level) in [
            ("kafka.server.KafkaApis", "INFO"),
            ("tifo_broker", "LOUD"),
            ("tifo_broker::a=b", "INFO"),
            ("root", "info"),
        ] {
            assert!(loggers.alter(false, set(name, level)).is_err(), "{name}={level}");
        }
        assert_eq!(*in_force.lock(), "");
    }
}
