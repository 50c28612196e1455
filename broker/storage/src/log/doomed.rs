//! Files that are no longer part of anything: renamed at once, removed later (`file.delete.delay.ms`).
//!
//! The new name tells a start after a crash that they may go. Slices that were handed out before keep their files open.

use crate::{
    StorageError,
    file_system::{FileSystem, io_error, remove_if_there},
    segment::{DELETED_FILE_SUFFIX, FileKind, SegmentFiles},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What the directory of a deleted partition ends with.
pub const DELETE_SUFFIX: &str = "-delete";

/// Segments, or a partition's directory, that bear their last names and wait for their removal.
#[derive(Debug)]
pub struct Doomed {
    what: What,
    delay_ms: i64,
}

#[derive(Debug)]
enum What {
    Segments(Vec<SegmentFiles>),
    Directory(Arc<dyn FileSystem>, PathBuf),
}

impl Doomed {
    /// Gives the files of removed segments their last names.
    pub(super) fn segments(segments: Vec<SegmentFiles>, delay_ms: i64) -> Result<Self, StorageError> {
        segments.iter().try_for_each(|files| files.mark_deleted(&FileKind::ALL))?;
        Ok(Self { what: What::Segments(segments), delay_ms })
    }

    /// The same for segments that a cleaned one has replaced, all but the snapshot where that one begins.
    pub(crate) fn replaced(
        segments: Vec<SegmentFiles>,
        cleaned_base_offset: i64,
        delay_ms: i64,
    ) -> Result<Self, StorageError> {
        for files in &segments {
            let keeps_snapshot = files.base_offset == cleaned_base_offset;
            files.mark_deleted(if keeps_snapshot { &FileKind::WITHOUT_SNAPSHOT } else { &FileKind::ALL })?;
        }
        Ok(Self { what: What::Segments(segments), delay_ms })
    }

    /// The directory of a deleted partition, which ends with [`DELETE_SUFFIX`] already.
    pub fn directory(file_system: Arc<dyn FileSystem>, dir: PathBuf, delay_ms: i64) -> Self {
        Self { what: What::Directory(file_system, dir), delay_ms }
    }

    /// How long they are to stay.
    pub fn delay_ms(&self) -> i64 {
        self.delay_ms
    }

    /// Now they go. May be called again after an error.
    pub fn remove(&self) -> Result<(), StorageError> {
        match &self.what {
            What::Segments(segments) => segments.iter().try_for_each(|files| files.remove_all(DELETED_FILE_SUFFIX)),
            What::Directory(file_system, dir) => remove_directory(&**file_system, dir),
        }
    }
}

fn remove_directory(file_system: &dyn FileSystem, dir: &Path) -> Result<(), StorageError> {
    let names = match file_system.list_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(io_error("list", dir))?,
    };
    names.iter().try_for_each(|name| remove_if_there(file_system, &dir.join(name)))?;
    file_system.remove_dir(dir).map_err(io_error("remove", dir))
}
