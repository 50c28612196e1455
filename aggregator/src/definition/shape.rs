//! `top` and `shape`: how the result of a window becomes records.

use serde::{Deserialize, Serialize};

/// Most groups that one `top` keeps.
pub const MAX_TOP: usize = 10_000;

/// Of the groups with equal values of `per` only the `n` with the largest `by` are written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Top {
    pub n: usize,
    /// Paths out of `group_by`; none: of the whole window.
    #[serde(default)]
    pub per: Vec<String>,
    /// A measure that is a number.
    #[serde(default = "default_by")]
    pub by: String,
}

fn default_by() -> String {
    "count".to_owned()
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// One record per group.
    #[default]
    Row,
    /// One record per window and `top.per`, with the top within.
    Window,
}
