//! `dedup` and `limit`: how often one voter counts in a window.

use super::MAX_GROUP_FIELDS;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Of the events of a window with equal values of these fields only one counts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Dedup {
    pub by: Paths,
    #[serde(default)]
    pub keep: Keep,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The first vote stands.
    #[default]
    First,
    /// A later vote moves the first one.
    Last,
}

/// Of the events of a window with equal values of these fields the first `max` count.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub by: Paths,
    pub max: usize,
}

/// One path, or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Paths {
    One(String),
    Several(Vec<String>),
}

impl Paths {
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }

    pub fn check(&self) -> Result<(), String> {
        if self.as_slice().is_empty() || self.as_slice().len() > MAX_GROUP_FIELDS {
            return Err(format!("`by` names 1 to {MAX_GROUP_FIELDS} fields"));
        }
        Ok(())
    }
}

impl fmt::Display for Paths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.as_slice().join(","))
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::First => "first",
            Self::Last => "last",
        })
    }
}
