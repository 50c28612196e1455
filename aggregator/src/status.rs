//! What can be seen of a running aggregator from outside: a snapshot that the task renews whenever it pauses.

use crate::{
    decision::Totals,
    engine::{Engine, OpenWindowSummary},
    reader::PartitionReader,
};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::watch;

/// Open windows listed; more are only counted.
pub const MAX_LISTED_WINDOWS: usize = 100;

/// A snapshot of one aggregator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    pub name: String,
    pub state: State,
    /// What went wrong last, if it has not been mended since.
    pub error: Option<String>,
    /// What is probably not meant so: a field that is in no event.
    pub warning: Option<String>,
    pub partitions: Vec<PartitionStatus>,
    /// Records that are in the raw topic but not yet processed.
    pub lag: i64,
    pub open_window_count: usize,
    /// The oldest [`MAX_LISTED_WINDOWS`].
    pub open_windows: Vec<WindowStatus>,
    /// Windows that end here or earlier are closed; null before the first.
    pub closed_until: Option<i64>,
    pub counted: u64,
    pub late: u64,
    pub bad: u64,
    pub clipped: u64,
    pub skipped: u64,
    /// Of the counted ones: those whose voter had voted before.
    pub repeated: u64,
    /// Of the counted ones: those too late for some of their windows.
    pub partial: u64,
    /// Since the aggregate began.
    pub decisions: u64,
    pub epoch: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Recovering,
    Running,
    /// Waiting before the next attempt; `error` says why.
    Failed,
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionStatus {
    pub partition: usize,
    pub watermark: Option<i64>,
    pub next_offset: i64,
    pub high_watermark: i64,
    pub lag: i64,
    pub idle: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WindowStatus {
    pub window_start: i64,
    pub window_end: i64,
    pub count: u64,
}

impl From<OpenWindowSummary> for WindowStatus {
    fn from(window: OpenWindowSummary) -> Self {
        Self { window_start: window.start, window_end: window.end, count: window.count }
    }
}

impl Status {
    pub fn show(&mut self, engine: &Engine, readers: &[PartitionReader]) {
        self.partitions = engine
            .sources()
            .iter()
            .zip(readers)
            .enumerate()
            .map(|(partition, (source, reader))| PartitionStatus {
                partition,
                watermark: source.watermark,
                next_offset: source.next,
                high_watermark: reader.high_watermark,
                lag: (reader.high_watermark - source.next).max(0),
                idle: source.idle_since_ms.is_some(),
            })
            .collect();
        self.lag = self.partitions.iter().map(|partition| partition.lag).sum();
        self.open_window_count = engine.open_window_count();
        self.open_windows = engine.open_windows(MAX_LISTED_WINDOWS).into_iter().map(WindowStatus::from).collect();
        self.closed_until = Some(engine.closed_until()).filter(|until| *until > i64::MIN);
        self.show_totals(engine.totals());
    }

    pub fn show_totals(&mut self, totals: Totals) {
        self.counted = totals.counted;
        self.late = totals.late;
        self.bad = totals.bad;
        self.clipped = totals.clipped;
        self.skipped = totals.skipped;
        self.repeated = totals.repeated;
        self.partial = totals.partial;
    }
}

/// The place where the task leaves its status; cheap to clone, to read at any time and to wait on.
#[derive(Debug, Clone)]
pub struct StatusHandle(Arc<watch::Sender<Status>>);

impl Default for StatusHandle {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Status::default())))
    }
}

impl StatusHandle {
    pub fn status(&self) -> Status {
        self.0.borrow().clone()
    }

    /// The first status for which the condition holds, from now on.
    pub async fn wait_for(&self, condition: impl FnMut(&Status) -> bool) -> Status {
        match self.0.subscribe().wait_for(condition).await {
            Ok(status) => status.clone(),
            // The sender is in this handle: it cannot be gone.
            Err(_) => self.status(),
        }
    }

    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        self.0.send_modify(change);
    }
}
