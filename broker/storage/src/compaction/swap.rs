//! Putting a cleaned segment in the place of those that it was made from, so that a crash at any moment leaves one or the other.
//!
//! 1. The new segment is complete and on stable storage under names that end in `.cleaned`. A crash: they are removed.
//! 2. They are renamed to `.swap`, the `.log` last, and the directory is synced: from here on the new segment counts. A crash: the
//!    next open finds `.log.swap` and does what follows. (It ends with the last offset of what it replaces: the filter keeps the
//!    group's last batch, if need be without records. So the file itself says which segments are to go.)
//! 3. In memory the log goes over to the new segment, under its lock. Slices of the old files stay readable.
//! 4. The old files get names that end in `.deleted`, and the directory is synced, so that none of them can come back beside what
//!    replaced it. They are removed after `file.delete.delay.ms`, by who looks after the log.
//! 5. The new files get their final names, the `.log` last. Four renames under the log's lock, as readers open files by name.
//!
//! Between 1 and 5 the log keeps others from removing segments that take part. If something fails from 2 on the log is offline for
//! writing: the next open completes it.

use super::{CleaningError, Job, LogDoor, SegmentFacts};
use crate::{
    Doomed, StorageError,
    file_system::{FileSystem, io_error, remove_if_there},
    segment::{FileKind, Segment, SegmentFiles},
};
use std::{path::Path, sync::Arc};

pub(super) const CLEANED_SUFFIX: &str = ".cleaned";
const SWAP_SUFFIX: &str = ".swap";

/// Steps 2 to 5. `segment` is sealed and synced.
pub(super) fn swap(
    door: &impl LogDoor,
    job: &Job,
    mut segment: Segment,
    replaced: &[SegmentFacts],
) -> Result<(), CleaningError> {
    let files = job.files(segment.base_offset());
    if door.with_log(|log| log.reserve_for_swap(replaced)) != Some(true) {
        discard(&files);
        return Err(CleaningError::Aborted);
    }
    if let Err(error) = files.rename_all(CLEANED_SUFFIX, SWAP_SUFFIX) {
        // The `.log` comes last: without it nothing has happened yet.
        door.with_log(|log| log.release_from_swap());
        discard(&files);
        return Err(error.into());
    }
    segment.renamed(SWAP_SUFFIX);
    let swapped = committed(door, job, segment, replaced);
    if let Err(CleaningError::Storage(error)) = &swapped {
        door.with_log(|log| log.swap_failed(error));
    }
    swapped
}

fn committed(door: &impl LogDoor, job: &Job, segment: Segment, replaced: &[SegmentFacts]) -> Result<(), CleaningError> {
    let files = job.files(segment.base_offset());
    sync_dir(&files)?;
    door.with_log(|log| log.exchange(segment)).ok_or(CleaningError::Aborted)?;
    let old = replaced.iter().map(|old| job.files(old.base_offset)).collect();
    door.doom(Doomed::replaced(old, files.base_offset, job.config.file_delete_delay_ms)?);
    sync_dir(&files)?;
    let rename = || files.rename_all(SWAP_SUFFIX, "");
    door.with_log(|log| log.finish_swap(rename)).ok_or(CleaningError::Aborted)??;
    Ok(sync_dir(&files)?)
}

/// Removes what a cleaning that is not to be has written. What cannot be removed now the next open removes.
pub(super) fn discard(files: &SegmentFiles) {
    for suffix in [CLEANED_SUFFIX, SWAP_SUFFIX] {
        if let Err(error) = files.remove_all(suffix) {
            tracing::warn!(%error, "a half-cleaned segment stays until the next start");
        }
    }
}

fn sync_dir(files: &SegmentFiles) -> Result<(), StorageError> {
    files.file_system.sync_dir(&files.dir).map_err(io_error("sync", &files.dir))
}

/// At open: drops cleanings that were interrupted, completes exchanges that were. True if file names have changed.
pub(crate) fn settle_leftovers(
    file_system: &Arc<dyn FileSystem>,
    dir: &Arc<Path>,
    names: &[String],
) -> Result<bool, StorageError> {
    let swaps: Vec<i64> = names.iter().filter_map(|name| swapped(name, FileKind::Log)).collect();
    let is_stray = |name: &&String| {
        let side = FileKind::SIDE.into_iter().find_map(|kind| swapped(name, kind));
        name.ends_with(CLEANED_SUFFIX) || side.is_some_and(|base| !swaps.contains(&base))
    };
    let mut has_changed = false;
    for name in names.iter().filter(is_stray) {
        remove_if_there(&**file_system, &dir.join(name))?;
        has_changed = true;
    }
    for base_offset in swaps {
        let files = SegmentFiles { file_system: file_system.clone(), dir: dir.clone(), base_offset, suffix: "" };
        complete(&files, names)?;
        has_changed = true;
    }
    Ok(has_changed)
}

fn swapped(name: &str, kind: FileKind) -> Option<i64> {
    kind.parse(name.strip_suffix(SWAP_SUFFIX)?)
}

/// Steps 4 and 5 of an exchange that a crash has cut off. The old files of the first segment are replaced by the renames.
fn complete(files: &SegmentFiles, names: &[String]) -> Result<(), StorageError> {
    let base_offset = files.base_offset;
    // Its indexes are not looked at.
    let segment = Segment::sealed(files.with_suffix(SWAP_SUFFIX), 0)?;
    let mut last_offset = base_offset;
    for step in segment.walk(0) {
        last_offset = step?.header.last_offset();
    }
    tracing::info!(dir = %files.dir.display(), base_offset, last_offset, "completing the exchange of a cleaned segment");
    let old = names.iter().filter_map(|name| FileKind::Log.parse(name));
    for base_offset in old.filter(|old| (base_offset + 1..=last_offset).contains(old)) {
        SegmentFiles { base_offset, ..files.clone() }.remove_all("")?;
    }
    sync_dir(files)?;
    files.rename_all(SWAP_SUFFIX, "")?;
    sync_dir(files)
}
