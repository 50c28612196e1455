//! `measure`: what is computed of each group, as text: `count()`, `avg(score)`, `fastest(3, user_id) where answer = 'B'`.
//!
//! Parsing and printing only; `measure/` computes.

use super::words;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Every function, as it is written.
const FUNCTIONS: [&str; 8] = ["count", "sum", "min", "max", "avg", "distinct", "fastest", "share"];
/// Most entries that `fastest` keeps.
pub const MAX_FASTEST: usize = 1_000;

/// One measure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Measure {
    pub function: Function,
    /// Only events for which it holds count.
    pub condition: Option<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Function {
    Count,
    Sum(String),
    Min(String),
    Max(String),
    Avg(String),
    /// Different values.
    Distinct(String),
    /// The values that came first by event time, each once.
    Fastest {
        n: usize,
        path: String,
    },
    /// The group's part of all events of the window, or of those with the same values of these group fields.
    Share(Vec<String>),
}

/// `where path = literal`. An event without the field does not meet it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub path: String,
    pub literal: Literal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    Text(String),
    Integer(i64),
    Boolean(bool),
}

impl Measure {
    pub fn count() -> Self {
        Self { function: Function::Count, condition: None }
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        let (call, condition) = match split_where(text) {
            Some((call, condition)) => (call, Some(Condition::parse(condition)?)),
            None => (text, None),
        };
        let shape =
            || format!("`{text}` is not a measure: write a function and its fields, as in `count()` or `avg(score)`");
        let (name, rest) = call.trim().split_once('(').ok_or_else(shape)?;
        let arguments = rest.strip_suffix(')').ok_or_else(shape)?;
        let arguments: Vec<&str> = match arguments.trim() {
            "" => Vec::new(),
            list => list.split(',').map(str::trim).collect(),
        };
        let function = Function::new(name.trim(), &arguments)?;
        if condition.is_some() && matches!(function, Function::Share(_)) {
            return Err(format!("`{text}`: share() is of all events of the group and takes no `where`"));
        }
        Ok(Self { function, condition })
    }
}

/// Outside of quotes.
fn split_where(text: &str) -> Option<(&str, &str)> {
    let at = text.find(" where ").filter(|at| !text.get(..*at).unwrap_or_default().contains('\''))?;
    Some((text.get(..at)?, text.get(at + " where ".len()..)?))
}

impl Function {
    /// The field that is read.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Count | Self::Share(_) => None,
            Self::Sum(path) | Self::Min(path) | Self::Max(path) | Self::Avg(path) => Some(path),
            Self::Distinct(path) | Self::Fastest { path, .. } => Some(path),
        }
    }

    pub(super) fn new(name: &str, arguments: &[&str]) -> Result<Self, String> {
        let one = || match arguments {
            [path] => Ok((*path).to_owned()),
            _ => Err(format!("{name}() takes one field, as in `{name}(score)`")),
        };
        match name {
            "count" if arguments.is_empty() => Ok(Self::Count),
            "count" => {
                Err("count() takes no field; for some events only write `count() where path = 'value'`".to_owned())
            }
            "sum" => one().map(Self::Sum),
            "min" => one().map(Self::Min),
            "max" => one().map(Self::Max),
            "avg" => one().map(Self::Avg),
            "distinct" => one().map(Self::Distinct),
            "share" => Ok(Self::Share(arguments.iter().map(|path| (*path).to_owned()).collect())),
            "fastest" => Self::fastest(arguments),
            other => Err(format!("there is no function `{other}`{}", words::nearest(other, &FUNCTIONS))),
        }
    }

    fn fastest(arguments: &[&str]) -> Result<Self, String> {
        match arguments {
            [n, path] => match n.parse() {
                Ok(n) if (1..=MAX_FASTEST).contains(&n) => Ok(Self::Fastest { n, path: (*path).to_owned() }),
                _ => Err(format!("fastest() keeps 1 to {MAX_FASTEST} values, not `{n}`")),
            },
            _ => Err("fastest() takes a number and a field, as in `fastest(3, user_id)`".to_owned()),
        }
    }
}

impl Condition {
    fn parse(text: &str) -> Result<Self, String> {
        let worded = || format!("`{text}` is not a condition: write `path = 'text'`, `path = 7` or `path = true`");
        let (path, literal) = text.split_once('=').ok_or_else(worded)?;
        let literal = Literal::parse(literal.trim()).ok_or_else(worded)?;
        Ok(Self { path: path.trim().to_owned(), literal })
    }
}

impl Literal {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "true" => Some(Self::Boolean(true)),
            "false" => Some(Self::Boolean(false)),
            quoted if quoted.starts_with('\'') => {
                let inner = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
                // A quote within is written twice, as in SQL.
                let whole = !inner.replace("''", "").contains('\'');
                whole.then(|| Self::Text(inner.replace("''", "'")))
            }
            number => number.parse().ok().map(Self::Integer),
        }
    }
}

impl TryFrom<String> for Measure {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Measure> for String {
    fn from(measure: Measure) -> Self {
        measure.to_string()
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Function::Count => formatter.write_str("count()")?,
            Function::Sum(path) => write!(formatter, "sum({path})")?,
            Function::Min(path) => write!(formatter, "min({path})")?,
            Function::Max(path) => write!(formatter, "max({path})")?,
            Function::Avg(path) => write!(formatter, "avg({path})")?,
            Function::Distinct(path) => write!(formatter, "distinct({path})")?,
            Function::Fastest { n, path } => write!(formatter, "fastest({n}, {path})")?,
            Function::Share(paths) => write!(formatter, "share({})", paths.join(", "))?,
        }
        match &self.condition {
            Some(Condition { path, literal }) => write!(formatter, " where {path} = {literal}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(formatter, "'{}'", text.replace('\'', "''")),
            Self::Integer(number) => number.fmt(formatter),
            Self::Boolean(flag) => flag.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_back() {
        for text in [
            "count()",
            "sum(score)",
            "min(a.b)",
            "max(score)",
            "avg(score)",
            "distinct(user_id)",
            "fastest(3, user_id)",
            "share()",
            "share(channel_id, country)",
            "count() where answer = 'B'",
            "sum(score) where round = 7",
            "fastest(3, user_id) where answer = 'it''s = B where x'",
            "count() where right = true",
        ] {
            assert_eq!(Measure::parse(text).map(|measure| measure.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(
            Measure::parse(" fastest( 3 ,user_id ) where a='b'").map(|m| m.to_string()).as_deref(),
            Ok("fastest(3, user_id) where a = 'b'")
        );
    }

    #[test]
    fn what_is_wrong_is_worded() {
        for (text, expected) in [
            ("count", "`count` is not a measure"),
            ("coumt()", "there is no function `coumt`; did you mean `count`?"),
            ("median(x)", "there is no function `median`; known: count, sum"),
            ("count(x)", "count() takes no field"),
            ("sum()", "sum() takes one field"),
            ("fastest(0, x)", "fastest() keeps 1 to 1000 values, not `0`"),
            ("fastest(x)", "fastest() takes a number and a field"),
            ("count() where x", "`x` is not a condition"),
            ("count() where x = y", "`x = y` is not a condition"),
            ("count() where x = 'it's'", "is not a condition"),
            ("share() where x = 1", "takes no `where`"),
        ] {
            let error = Measure::parse(text).map(|measure| measure.to_string());
            assert!(error.as_ref().is_err_and(|error| error.contains(expected)), "{text}: {error:?}");
        }
    }
}
