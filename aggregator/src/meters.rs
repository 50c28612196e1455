//! The aggregator's metrics; handles are looked up once.

use crate::{decision::Totals, reader::PartitionReader, source::Source};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::time::Duration;

pub struct Meters {
    aggregate: String,
    counted: Counter,
    late: Counter,
    bad: Counter,
    windows_closed: Counter,
    rows: Counter,
    window_lag: Histogram,
    parse: Histogram,
    lag: Vec<Gauge>,
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
        Self {
            counted: events("counted"),
            late: events("late"),
            bad: events("bad"),
            windows_closed: counter!("tifo_aggregator_windows_closed_total", "aggregate" => name.clone()),
            rows: counter!("tifo_aggregator_rows_total", "aggregate" => name.clone()),
            window_lag: histogram!("tifo_aggregator_window_lag_seconds", "aggregate" => name.clone()),
            parse: histogram!("tifo_aggregator_parse_seconds", "aggregate" => name.clone()),
            lag: Vec::new(),
            shown: from,
            aggregate: name,
        }
    }

    /// Brings counters and gauges up to date.
    pub fn show(&mut self, totals: Totals, sources: &[Source], readers: &[PartitionReader]) {
        self.counted.increment(totals.counted.saturating_sub(self.shown.counted));
        self.late.increment(totals.late.saturating_sub(self.shown.late));
        self.bad.increment(totals.bad.saturating_sub(self.shown.bad));
        self.shown = totals;
        for partition in self.lag.len()..readers.len() {
            let labels = [("aggregate", self.aggregate.clone()), ("partition", partition.to_string())];
            self.lag.push(gauge!("tifo_aggregator_consumer_lag_records", &labels));
        }
        for ((gauge, source), reader) in self.lag.iter().zip(sources).zip(readers) {
            // A lag far below 2^53: exact as a float.
            gauge.set((reader.high_watermark - source.next).max(0) as f64);
        }
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
    metrics::describe_counter!("tifo_aggregator_windows_closed_total", "Windows closed");
    metrics::describe_counter!("tifo_aggregator_rows_total", "Rows written to the aggregate topic");
    metrics::describe_histogram!(
        "tifo_aggregator_window_lag_seconds",
        "From a window's end until its rows are in the log"
    );
    metrics::describe_histogram!("tifo_aggregator_parse_seconds", "Reading and counting one event, mean over a slice");
    metrics::describe_gauge!("tifo_aggregator_consumer_lag_records", "Records of the raw topic not yet processed");
}
