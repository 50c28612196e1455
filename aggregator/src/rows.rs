//! Rows of the aggregate topic: one record per group of a closed window, in one batch with the decision.
//!
//! Pure and deterministic: windows in order, rows of a window in order of their key. docs/aggregates.md describes both.

use crate::{
    Definition,
    decision::{DECISION_HEADER, Decision},
    engine::ClosedWindow,
    group::{self, Value},
};
use bytes::Bytes;
use tifo_storage::record_batch::{BatchBuilder, Compression};

/// A batch that has grown to this takes no further window; a window is never split.
pub const ROW_BATCH_TARGET_BYTES: usize = 1 << 20;

/// What of the definition shows in a row.
#[derive(Debug)]
pub struct RowFormat {
    /// `"channel_id":` and the like.
    field_names: Vec<String>,
    count_name: String,
}

impl RowFormat {
    pub fn new(definition: &Definition) -> Self {
        let name = |name: &str| format!("{}:", json_text(name));
        Self { field_names: definition.group_fields().map(name).collect(), count_name: name(definition.count_field()) }
    }

    /// The rows of a window as (key, value), in order.
    fn rows(&self, window: &ClosedWindow) -> Vec<(String, String)> {
        let groups = window.groups.iter();
        let mut rows: Vec<_> =
            groups.map(|(group, count)| (key(group, window.start), self.value(group, *count, window))).collect();
        rows.sort_unstable();
        rows
    }

    fn value(&self, group: &[u8], count: u64, window: &ClosedWindow) -> String {
        let mut json = format!("{{\"window_start\":{},\"window_end\":{},", window.start, window.end);
        for (name, value) in self.field_names.iter().zip(group::values(group)) {
            json.push_str(name);
            match value {
                Value::Text(text) => json.push_str(&json_text(text)),
                Value::Integer(number) => json.push_str(&number.to_string()),
                Value::Boolean(flag) => json.push_str(if flag { "true" } else { "false" }),
            }
            json.push(',');
        }
        json.push_str(&self.count_name);
        json.push_str(&format!("{count},\"rev\":0,\"final\":true}}"));
        json
    }
}

/// `channel|reaction|window_start`.
fn key(group: &[u8], window_start: i64) -> String {
    let mut key = String::with_capacity(group.len() + 16);
    group::push_key(group, &mut key);
    key.push_str(&window_start.to_string());
    key
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// One row that is not in the batch yet: the last one gets the decision.
#[derive(Debug)]
struct Row {
    timestamp_ms: i64,
    key: String,
    value: String,
}

/// Collects the rows of whole windows.
#[derive(Debug)]
pub struct RowBatch {
    builder: BatchBuilder,
    last: Option<Row>,
    /// Ends of the windows within.
    pub window_ends: Vec<i64>,
    pub rows: usize,
}

impl RowBatch {
    pub fn new() -> Self {
        Self { builder: BatchBuilder::new(Compression::None), last: None, window_ends: Vec::new(), rows: 0 }
    }

    pub fn push(&mut self, format: &RowFormat, window: &ClosedWindow) {
        for (key, value) in format.rows(window) {
            let row = Row { timestamp_ms: window.end - 1, key, value };
            if let Some(before) = self.last.replace(row) {
                self.append(&before, &[]);
            }
            self.rows += 1;
        }
        self.window_ends.push(window.end);
    }

    pub fn is_full(&self) -> bool {
        self.builder.size_bytes() >= ROW_BATCH_TARGET_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// The batch, with the decision on its last row.
    pub fn build(mut self, decision: &Decision) -> Bytes {
        if let Some(last) = self.last.take() {
            self.append(&last, &[(DECISION_HEADER, Some(&decision.to_json()))]);
        }
        self.builder.build()
    }

    fn append(&mut self, row: &Row, headers: &[(&[u8], Option<&[u8]>)]) {
        self.builder.push(row.timestamp_ms, Some(row.key.as_bytes()), Some(row.value.as_bytes()), headers);
    }
}
