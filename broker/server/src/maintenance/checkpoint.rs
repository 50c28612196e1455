//! Checkpoints now and then, so that a start after a crash scans little.
//!
//! A checkpoint costs an fsync: it is taken when much has been written since the last one, or something and long ago. A
//! log with less than that behind its checkpoint is scanned faster than it is synced.

use super::{Maintenance, asked_again};
use crate::partition::{NEVER, Partition};
use std::sync::Arc;

/// Bytes behind the last checkpoint that are not worth an fsync.
const LEAST_BYTES: u64 = 1 << 20;
/// Bytes behind the last checkpoint at which the next one is due at once: a tenth of a second of scanning.
const MOST_BYTES: u64 = 256 << 20;
/// How long something may stay behind the last checkpoint.
const MAX_AGE_MS: i64 = 60_000;

pub fn run(_: &Maintenance, partition: &Arc<Partition>, now_ms: i64) -> i64 {
    let behind = match partition.try_log(|log| log.behind_checkpoint()) {
        Ok(behind) => behind,
        Err(not_now) => return asked_again(not_now, now_ms),
    };
    let Some(behind) = behind.filter(|behind| behind.bytes >= LEAST_BYTES) else { return NEVER };
    let due_ms = if behind.bytes >= MOST_BYTES { now_ms } else { behind.since_ms.saturating_add(MAX_AGE_MS) };
    if due_ms > now_ms {
        return due_ms;
    }
    // An error is told where it happens; a log that takes no more writes has nothing to checkpoint until it is opened again.
    let _ = partition.checkpoint();
    NEVER
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{catalog::Catalog, clock::Clock, config::BrokerConfig, settings::Live};
    use std::path::Path;
    use tifo_storage::{LogConfig, Origin, file_system::RealFileSystem, record_batch::BatchBuilder};

    const NOW_MS: i64 = 1_700_000_000_000;

    fn maintenance(dir: &Path) -> Maintenance {
        let config = Arc::new(Live::new(BrokerConfig::new(dir).in_force().unwrap()));
        let clock = Clock::fixed(NOW_MS);
        let catalog = Catalog::open(dir, config.clone(), clock.clone(), Arc::new(RealFileSystem)).unwrap();
        Maintenance::new(Arc::new(catalog), clock, config)
    }

    /// A partition with so many bytes, as a crash leaves it.
    fn killed(dir: &Path, bytes: usize) -> tifo_storage::Log {
        let open = || tifo_storage::Log::open(Arc::new(RealFileSystem), dir, LogConfig::default(), NOW_MS).unwrap();
        let mut batch = BatchBuilder::default();
        batch.push(NOW_MS, None, Some(&vec![7; bytes]), &[]);
        open().0.append(&batch.build(), Origin::Internal, 0, NOW_MS).unwrap();
        let (log, recovered) = open();
        assert!(recovered.scanned_bytes > u64::try_from(bytes).unwrap());
        log
    }

    /// Each of two crashes within a minute would else scan what the first one did.
    #[test]
    fn what_a_start_had_to_scan_is_checkpointed_by_the_first_tick() {
        for (bytes, scanned_again) in [(2 << 20, false), (1000, true)] {
            let (dir, log_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let partition = Arc::new(Partition::new("t".into(), 0, Some(killed(log_dir.path(), bytes))));
            assert_eq!(run(&maintenance(dir.path()), &partition, NOW_MS), NEVER);
            drop(partition);
            let (_, recovered) =
                tifo_storage::Log::open(Arc::new(RealFileSystem), log_dir.path(), LogConfig::default(), NOW_MS)
                    .unwrap();
            assert_eq!(recovered.scanned_bytes > 0, scanned_again);
        }
    }
}
