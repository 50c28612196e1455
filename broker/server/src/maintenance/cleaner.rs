//! The cleaner: compacts the logs that are due, one at a time, the dirtiest first, on a thread of its own.
//!
//! A look at a partition only offers it ([`run`]); the next tick lets the cleaner at what was offered. So a due log is cleaned within
//! seconds, and a long cleaning holds up none of the other duties. Memory: one offset map and its buffers at a time, as
//! [`CleanerSettings`] bounds them. A log that cannot be cleaned is told once and left alone; the others go on.

use super::{Maintenance, asked_again};
use crate::{
    catalog::Deletions,
    clock::Clock,
    partition::{NEVER, Partition},
    settings::{Layers, Live},
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use tifo_storage::{Cleaned, CleanerSettings, CleaningError, StorageError};

/// When a cleaning that failed for want of space or the like is tried again.
const RETRY_FAILED_MS: i64 = 60_000;
#[derive(Debug)]
pub struct Cleaner {
    config: Arc<Live>,
    /// What is due, with its dirty ratio; every partition at most once.
    offered: Mutex<Vec<(f64, Arc<Partition>)>>,
    is_running: AtomicBool,
}

impl Cleaner {
    pub fn new(config: Arc<Live>) -> Self {
        Self { config, offered: Mutex::default(), is_running: AtomicBool::new(false) }
    }

    fn offer(&self, ratio: f64, partition: &Arc<Partition>) {
        let mut offered = self.offered.lock();
        offered.retain(|(_, other)| !Arc::ptr_eq(other, partition));
        offered.push((ratio, partition.clone()));
        let most = offered.iter().map(|(ratio, _)| *ratio).fold(0.0, f64::max);
        metrics::gauge!("tifo_cleaner_max_dirty_ratio").set(most);
    }

    /// What is not being cleaned yet is left as it is.
    pub fn forget_offers(&self) {
        self.offered.lock().clear();
    }

    fn dirtiest(&self) -> Option<Arc<Partition>> {
        let mut offered = self.offered.lock();
        let most = offered.iter().enumerate().max_by(|(_, left), (_, right)| left.0.total_cmp(&right.0))?;
        let at = most.0;
        Some(offered.swap_remove(at).1)
    }

    /// True if the cleaner has something to do and nobody does it; then the caller calls [`Cleaner::work`].
    pub fn start(&self) -> bool {
        !self.offered.lock().is_empty() && !self.is_running.swap(true, Ordering::AcqRel)
    }

    /// Cleans until nothing is offered any more.
    pub fn work(&self, clock: &Clock, deletions: &Deletions) {
        while let Some(partition) = self.dirtiest() {
            // Asked for each log: the settings may have been altered.
            if let Some(settings) = self.config.now().cleaner {
                clean(&partition, &settings, clock, deletions);
            }
        }
        metrics::gauge!("tifo_cleaner_max_dirty_ratio").set(0.0);
        self.is_running.store(false, Ordering::Release);
    }
}

/// Looks whether the partition is due, and offers it. Also rolls an active segment that `max.compaction.lag.ms` wants sealed.
pub fn run(maintenance: &Maintenance, partition: &Arc<Partition>, now_ms: i64) -> i64 {
    let not_before_ms = partition.cleaning_not_before();
    if maintenance.cleaner.config.now().cleaner.is_none() {
        return NEVER;
    }
    if not_before_ms > now_ms {
        return not_before_ms;
    }
    let looked = partition.try_log(|log| {
        if !log.is_compacted() {
            return Ok(None);
        }
        let roll_ms = log.roll_for_compaction(now_ms)?;
        let (dirt, is_due) = log.dirt(now_ms)?;
        Ok(Some((dirt.ratio(), is_due, dirt.next_ms.min(roll_ms))))
    });
    match looked {
        Err(not_now) => asked_again(not_now, now_ms),
        Ok(Ok(None)) => NEVER,
        Ok(Ok(Some((ratio, true, next_ms)))) => {
            maintenance.cleaner.offer(ratio, partition);
            next_ms
        }
        Ok(Ok(Some((_, false, next_ms)))) => next_ms,
        Ok(Err(error)) => {
            failed(partition, &error, now_ms);
            partition.cleaning_not_before()
        }
    }
}

fn clean(partition: &Arc<Partition>, settings: &CleanerSettings, clock: &Clock, deletions: &Deletions) {
    let (started, now_ms) = (Instant::now(), clock.now_ms());
    match partition.clean(settings, now_ms, |doomed| deletions.add(doomed, clock.now_ms())) {
        Ok(None) | Err(CleaningError::Aborted) => return,
        Ok(Some(cleaned)) => tell(partition, &cleaned, started),
        Err(CleaningError::Storage(error)) => failed(partition, &error, now_ms),
    }
    // There may be more than one map held.
    partition.upkeep.changed();
}

fn tell(partition: &Partition, cleaned: &Cleaned, started: Instant) {
    let (before, after) = (cleaned.bytes_before, cleaned.bytes_after);
    let seconds = started.elapsed().as_secs_f64();
    tracing::info!(topic = %partition.topic, partition = partition.index, before, after, keys = cleaned.keys,
        clean_up_to = cleaned.end_offset, seconds, "log cleaned");
    metrics::histogram!("tifo_cleaner_seconds").record(seconds);
    metrics::counter!("tifo_cleaner_read_bytes_total").increment(cleaned.bytes_read);
    metrics::counter!("tifo_cleaner_removed_bytes_total").increment(before.saturating_sub(after));
}

/// Want of space passes; anything else needs a look by somebody.
fn failed(partition: &Partition, error: &StorageError, now_ms: i64) {
    let again_ms = matches!(error, StorageError::Io { .. }).then(|| now_ms.saturating_add(RETRY_FAILED_MS));
    partition.cleaning_failed(again_ms);
    metrics::counter!("tifo_cleaner_failures_total").increment(1);
    match again_ms {
        Some(_) => tracing::error!(topic = %partition.topic, partition = partition.index, %error,
            "the log could not be cleaned; the next attempt is in a minute"),
        None => tracing::error!(topic = %partition.topic, partition = partition.index, %error,
            "the log cannot be cleaned and is left uncleaned until restart; reads and writes go on"),
    }
}

/// What Kafka's `log.cleaner.*` say. None: no cleaner.
pub fn settings(broker: &Layers) -> Option<CleanerSettings> {
    let default = CleanerSettings::default();
    let real = |name: &str, default: f64| broker.read::<f64>(name).unwrap_or(default);
    broker.flag("log.cleaner.enable").then(|| CleanerSettings {
        dedupe_buffer_bytes: broker.size("log.cleaner.dedupe.buffer.size"),
        io_buffer_bytes: broker.size("log.cleaner.io.buffer.size"),
        load_factor: real("log.cleaner.io.buffer.load.factor", default.load_factor).clamp(0.1, 0.95),
        max_bytes_per_second: real("log.cleaner.io.max.bytes.per.second", default.max_bytes_per_second).max(1.0),
    })
}
