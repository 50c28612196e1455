//! Rows of the aggregate topic: the result of a closed window as records, in one batch with the decision.
//!
//! Pure and deterministic: windows in order, rows of a window in order of their key. docs/aggregates.md describes both.

use crate::{
    Definition,
    decision::{DECISION_HEADER, Decision},
    definition::{Shape, Top},
    engine::ClosedWindow,
    group::{self, json_text},
    measure::{Acc, Cell, Decimal, Measures, Source},
};
use bytes::Bytes;
use std::{cmp::Reverse, collections::BTreeMap};
use tifo_storage::record_batch::{BatchBuilder, Compression};

/// A batch that has grown to this takes no further window; a window is never split.
pub const ROW_BATCH_TARGET_BYTES: usize = 1 << 20;

/// What of the definition shows in a row.
#[derive(Debug)]
pub struct RowFormat {
    /// `"channel_id":` and the like, of the group's fields.
    field_names: Vec<String>,
    /// The same of the measures, and how each is found.
    columns: Vec<(String, Source)>,
    /// Names of the measures in quotes, for `approx`.
    quoted: Vec<String>,
    top: Option<Cut>,
    shape: Shape,
}

/// `top`, with places in the group and among the columns for its names.
#[derive(Debug)]
struct Cut {
    n: usize,
    per: Vec<usize>,
    by: usize,
}

/// One group of a window, ready to be written.
#[derive(Debug)]
struct Line<'w> {
    group: &'w [u8],
    /// `channel|reaction|`.
    key: String,
    /// The measures as JSON, each with its name, and `approx`, all followed by commas.
    measured: String,
    /// By what `top` cuts.
    rank: Decimal,
    events: u64,
}

/// Events of the window, by the group fields that a share is of.
type Totals = BTreeMap<Vec<u8>, u64>;

impl RowFormat {
    pub fn new(definition: &Definition) -> Self {
        let name = |name: &str| format!("{}:", json_text(name));
        let columns = Measures::new(definition).columns;
        Self {
            field_names: definition.group_fields().map(name).collect(),
            top: definition.top.as_ref().map(|top| Cut::new(top, definition, &columns)),
            quoted: columns.iter().map(|(name, _)| json_text(name)).collect(),
            columns: columns.into_iter().map(|(column, source)| (name(&column), source)).collect(),
            shape: definition.shape,
        }
    }

    /// The rows of a window as (key, value), in order.
    fn rows(&self, window: &ClosedWindow) -> Vec<(String, String)> {
        let totals: Vec<Totals> = self.columns.iter().map(|(_, source)| totals(source, window)).collect();
        let mut lines: Vec<Line<'_>> =
            window.groups.iter().map(|(group, acc)| self.line(group, acc, &totals)).collect();
        lines.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        match (&self.top, self.shape) {
            (None, _) => lines.iter().map(|line| self.row(line, window)).collect(),
            (Some(cut), Shape::Row) => {
                let mut lines: Vec<Line<'_>> =
                    cut.per_key(lines).into_values().flat_map(|lines| cut.top(lines)).collect();
                lines.sort_unstable_by(|one, other| one.key.cmp(&other.key));
                lines.iter().map(|line| self.row(line, window)).collect()
            }
            (Some(cut), Shape::Window) => {
                let mut records: Vec<_> =
                    cut.per_key(lines).into_values().filter_map(|lines| self.record(cut, lines, window)).collect();
                records.sort_unstable();
                records
            }
        }
    }

    fn line<'w>(&self, group: &'w [u8], acc: &'w Acc, totals: &[Totals]) -> Line<'w> {
        let mut line =
            Line { group, key: String::new(), measured: String::new(), rank: Decimal::default(), events: acc.events };
        group::push_key(group, &mut line.key);
        let mut approx = Vec::new();
        for (index, (((name, source), totals), quoted)) in self.columns.iter().zip(totals).zip(&self.quoted).enumerate()
        {
            let shown = Shown::new(source, group, acc, totals);
            line.measured.push_str(name);
            line.measured.push_str(&shown.json);
            line.measured.push(',');
            if shown.is_estimate {
                approx.push(quoted.as_str());
            }
            if self.top.as_ref().is_some_and(|cut| cut.by == index) {
                line.rank = shown.number;
            }
        }
        if !approx.is_empty() {
            line.measured.push_str(&format!("\"approx\":[{}],", approx.join(",")));
        }
        line
    }

    /// One group as a record.
    fn row(&self, line: &Line<'_>, window: &ClosedWindow) -> (String, String) {
        let mut json = beginning(window);
        self.push_fields(line.group, &mut json, |_| true);
        json.push_str(&line.measured);
        json.push_str(&window.end_text());
        (format!("{}{}", line.key, window.start_text()), json)
    }

    /// The groups that are alike in `per` as one record, the top of them within.
    fn record(&self, cut: &Cut, lines: Vec<Line<'_>>, window: &ClosedWindow) -> Option<(String, String)> {
        let group = lines.first()?.group;
        let (total, groups) = (lines.iter().map(|line| line.events).sum::<u64>(), lines.len());
        let mut json = beginning(window);
        self.push_fields(group, &mut json, |field| cut.per.contains(&field));
        json.push_str(&format!("\"total\":{total},\"groups\":{groups},\"top\":["));
        for (index, line) in cut.top(lines).enumerate() {
            json.push_str(if index == 0 { "{" } else { ",{" });
            self.push_fields(line.group, &mut json, |field| !cut.per.contains(&field));
            json.push_str(line.measured.trim_end_matches(','));
            json.push('}');
        }
        json.push_str("],");
        json.push_str(&window.end_text());
        let mut key = String::new();
        let own = group::values(group).enumerate().filter(|(field, _)| cut.per.contains(field));
        own.for_each(|(_, value)| group::push_key_value(&value, &mut key));
        Some((format!("{key}{}", window.start_text()), json))
    }

    fn push_fields(&self, group: &[u8], json: &mut String, wanted: impl Fn(usize) -> bool) {
        for (field, (name, value)) in self.field_names.iter().zip(group::values(group)).enumerate() {
            if wanted(field) {
                json.push_str(name);
                group::push_json(&value, json);
                json.push(',');
            }
        }
    }
}

fn beginning(window: &ClosedWindow) -> String {
    format!("{{\"window_start\":{},\"window_end\":{},", window.start, window.end)
}

impl ClosedWindow {
    fn end_text(&self) -> String {
        format!("\"rev\":{},\"final\":{}}}", self.rev, self.is_final)
    }

    /// What ends a key: the window's start, and its end where several windows have the same start.
    fn start_text(&self) -> String {
        if self.shares_start { format!("{}|{}", self.start, self.end) } else { self.start.to_string() }
    }
}

/// What a share is a part of; empty for other measures.
fn totals(source: &Source, window: &ClosedWindow) -> Totals {
    let mut totals = Totals::new();
    if let Source::Share(fields) = source {
        for (group, acc) in &window.groups {
            *totals.entry(group::selected(group, fields)).or_default() += acc.events;
        }
    }
    totals
}

/// A measure's value as it is written.
#[derive(Debug, Default)]
struct Shown {
    json: String,
    /// For the order of a top; nothing counts as 0.
    number: Decimal,
    is_estimate: bool,
}

impl Shown {
    fn new(source: &Source, group: &[u8], acc: &Acc, totals: &Totals) -> Self {
        match source {
            Source::Events => Self::count(acc.events),
            Source::Share(fields) => {
                let total = totals.get(&group::selected(group, fields)).copied().unwrap_or(0);
                Self::number(Some(Decimal::ratio(acc.events, total)))
            }
            Source::Cell(index) => acc.cells.get(*index).map(Self::cell).unwrap_or_default(),
        }
    }

    fn cell(cell: &Cell) -> Self {
        match cell {
            Cell::Count(count) => Self::count(*count),
            Cell::Sum(sum) => Self::number(Some(*sum)),
            Cell::Least(number) | Cell::Greatest(number) => Self::number(*number),
            Cell::Mean { sum, count } => Self::number(sum.divided_by(*count)),
            Cell::Distinct(distinct) => Self { is_estimate: distinct.is_estimate(), ..Self::count(distinct.count()) },
            Cell::Fastest(fastest) => {
                let entries = fastest.entries().iter().map(|(stamp, value)| {
                    let mut json = "{\"value\":".to_owned();
                    group::values(value).for_each(|value| group::push_json(&value, &mut json));
                    format!("{json},\"time\":{}}}", stamp.time_ms)
                });
                Self { json: format!("[{}]", entries.collect::<Vec<_>>().join(",")), ..Self::default() }
            }
        }
    }

    fn count(count: u64) -> Self {
        let number = Decimal::from_integer(i64::try_from(count).unwrap_or(i64::MAX));
        Self { json: count.to_string(), number, is_estimate: false }
    }

    fn number(number: Option<Decimal>) -> Self {
        let json = number.map_or_else(|| "null".to_owned(), |number| number.to_string());
        Self { json, number: number.unwrap_or_default(), is_estimate: false }
    }
}

impl Cut {
    /// The names have passed `Definition::validate`.
    fn new(top: &Top, definition: &Definition, columns: &[(String, Source)]) -> Self {
        let place = |path: &String| definition.group_by.iter().position(|by| by == path);
        Self {
            n: top.n,
            per: top.per.iter().filter_map(place).collect(),
            by: columns.iter().position(|(name, _)| *name == top.by).unwrap_or(0),
        }
    }

    fn per_key<'w>(&self, lines: Vec<Line<'w>>) -> BTreeMap<Vec<u8>, Vec<Line<'w>>> {
        let mut by_key = BTreeMap::<_, Vec<Line<'w>>>::new();
        for line in lines {
            by_key.entry(group::selected(line.group, &self.per)).or_default().push(line);
        }
        by_key
    }

    /// The largest first; of equal ones the lower key.
    fn top<'w>(&self, mut lines: Vec<Line<'w>>) -> impl Iterator<Item = Line<'w>> {
        lines.sort_unstable_by(|one, other| (Reverse(one.rank), &one.key).cmp(&(Reverse(other.rank), &other.key)));
        lines.into_iter().take(self.n)
    }
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
    /// Ends of the windows that are closed by it.
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
        if window.is_final && window.rev == 0 {
            self.window_ends.push(window.end);
        }
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
