//! The aggregator's metrics; handles are looked up once.

use crate::{decision::Totals, engine::Engine, reader::PartitionReader};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::time::Duration;

pub struct Meters {
    aggregate: String,
    counted: Counter,
    late: Counter,
    bad: Counter,
    clipped: Counter,
    skipped: Counter,
    repeated: Counter,
    partial: Counter,
    decisions: Counter,
    snapshots: Counter,
    snapshot_bytes: Gauge,
    open_windows: Gauge,
    windows_closed: Counter,
    rows: Counter,
    window_lag: Histogram,
    parse: Histogram,
    lag: Vec<Gauge>,
    /// By partition.
    watermark: Vec<Gauge>,
    /// What the counters show already.
    shown: Totals,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Meters").field("aggregate", &self.aggregate).finish_non_exhaustive()
    }
}

impl Meters {
    /// `from`: totals of earlier runs, which this process's counters leave out.
    pub fn new(aggregate: &str, from: Totals) -> Self {
        describe();
        let name = aggregate.to_owned();
        let events = |outcome: &'static str| counter!("tifo_aggregator_events_total", "aggregate" => name.clone(), "outcome" => outcome);
        let of_those = |which: &'static str| counter!("tifo_aggregator_events_of_those_total", "aggregate" => name.clone(), "which" => which);
        Self {
            counted: events("counted"),
            late: events("late"),
            bad: events("bad"),
            clipped: of_those("clipped"),
            skipped: counter!("tifo_aggregator_skipped_offsets_total", "aggregate" => name.clone()),
            repeated: of_those("repeated"),
            partial: of_those("partial"),
            decisions: counter!("tifo_aggregator_decisions_total", "aggregate" => name.clone()),
            snapshots: counter!("tifo_aggregator_snapshots_total", "aggregate" => name.clone()),
            snapshot_bytes: gauge!("tifo_aggregator_snapshot_bytes", "aggregate" => name.clone()),
            open_windows: gauge!("tifo_aggregator_open_windows", "aggregate" => name.clone()),
            windows_closed: counter!("tifo_aggregator_windows_closed_total", "aggregate" => name.clone()),
            rows: counter!("tifo_aggregator_rows_total", "aggregate" => name.clone()),
            window_lag: histogram!("tifo_aggregator_window_lag_seconds", "aggregate" => name.clone()),
            parse: histogram!("tifo_aggregator_parse_seconds", "aggregate" => name.clone()),
            lag: Vec::new(),
            watermark: Vec::new(),
            shown: from,
            aggregate: name,
        }
    }

    /// Brings counters and gauges up to date.
    pub fn show(&mut self, engine: &Engine, readers: &[PartitionReader]) {
        let (totals, sources) = (engine.totals(), engine.sources());
        self.counted.increment(totals.counted.saturating_sub(self.shown.counted));
        self.late.increment(totals.late.saturating_sub(self.shown.late));
        self.bad.increment(totals.bad.saturating_sub(self.shown.bad));
        self.clipped.increment(totals.clipped.saturating_sub(self.shown.clipped));
        self.skipped.increment(totals.skipped.saturating_sub(self.shown.skipped));
        self.repeated.increment(totals.repeated.saturating_sub(self.shown.repeated));
        self.partial.increment(totals.partial.saturating_sub(self.shown.partial));
        self.shown = totals;
        // Counts and ms far below 2^53: exact as a float.
        self.open_windows.set(engine.open_window_count() as f64);
        for partition in self.lag.len()..readers.len() {
            let labels = [("aggregate", self.aggregate.clone()), ("partition", partition.to_string())];
            self.lag.push(gauge!("tifo_aggregator_consumer_lag_records", &labels));
            self.watermark.push(gauge!("tifo_aggregator_watermark_timestamp_seconds", &labels));
        }
        for ((gauge, source), reader) in self.lag.iter().zip(sources).zip(readers) {
            gauge.set((reader.high_watermark - source.next).max(0) as f64);
        }
        for (gauge, source) in self.watermark.iter().zip(sources) {
            if let Some(watermark_ms) = source.watermark {
                gauge.set(watermark_ms as f64 / 1_000.0);
            }
        }
    }

    pub fn decided(&self) {
        self.decisions.increment(1);
    }

    pub fn snapshot(&self, bytes: usize) {
        self.snapshots.increment(1);
        self.snapshot_bytes.set(bytes as f64);
    }

    /// Windows closed by one decision; `now_ms` is when their rows were in the log.
    pub fn closed(&self, window_ends: &[i64], rows: usize, now_ms: i64) {
        self.windows_closed.increment(u64::try_from(window_ends.len()).unwrap_or(0));
        self.rows.increment(u64::try_from(rows).unwrap_or(0));
        for end in window_ends {
            let lag_ms = u64::try_from(now_ms.saturating_sub(*end)).unwrap_or(0);
            self.window_lag.record(Duration::from_millis(lag_ms));
        }
    }

    /// `events` were read and counted in `elapsed`: the mean of one goes into the histogram.
    pub fn parsed(&self, events: usize, elapsed: Duration) {
        if let Some(mean) = u32::try_from(events).ok().and_then(|events| elapsed.checked_div(events)) {
            self.parse.record(mean);
        }
    }
}

fn describe() {
    metrics::describe_counter!("tifo_aggregator_events_total", "Events read, by what became of them");
    metrics::describe_counter!(
        "tifo_aggregator_events_of_those_total",
        "Late events whose clock is ahead (clipped); counted ones whose voter had voted before (repeated), or that came too late for some of their windows (partial)"
    );
    metrics::describe_counter!(
        "tifo_aggregator_skipped_offsets_total",
        "Offsets that were gone before they could be read"
    );
    metrics::describe_counter!("tifo_aggregator_decisions_total", "Batches of rows written, each with its decision");
    metrics::describe_counter!("tifo_aggregator_snapshots_total", "Snapshots of open windows written");
    metrics::describe_gauge!("tifo_aggregator_snapshot_bytes", "Size of the last snapshot");
    metrics::describe_gauge!("tifo_aggregator_open_windows", "Windows that are still to be told");
    metrics::describe_gauge!(
        "tifo_aggregator_watermark_timestamp_seconds",
        "Highest event time seen in a partition of the raw topic, in seconds since the epoch"
    );
    metrics::describe_counter!("tifo_aggregator_windows_closed_total", "Windows closed");
    metrics::describe_counter!("tifo_aggregator_rows_total", "Rows written to the aggregate topic");
    metrics::describe_histogram!(
        "tifo_aggregator_window_lag_seconds",
        "From a window's end until its rows are in the log"
    );
    metrics::describe_histogram!("tifo_aggregator_parse_seconds", "Reading and counting one event, mean over a slice");
    metrics::describe_gauge!("tifo_aggregator_consumer_lag_records", "Records of the raw topic not yet processed");
}
