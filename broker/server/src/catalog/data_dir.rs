//! The data directory: its lock, and the partition directories in it. The only place of this crate that touches files.
//!
//! `topic-partition/` holds a partition's log and its `partition.metadata`; `metadata/` the metadata log (no topic's
//! directory can have that name: theirs end in a dash and a number); `.lock` keeps a second process out.

use super::kafka_uuid;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use tifo_storage::StorageError;
use uuid::Uuid;

const LOCK_FILE: &str = ".lock";
const METADATA_DIR: &str = "metadata";
const PARTITION_METADATA: &str = "partition.metadata";
const DELETED_SUFFIX: &str = "-delete";
const STRAY_SUFFIX: &str = "-stray";
/// Longest name of a directory.
const MAX_DIR_NAME_BYTES: usize = 255;

/// The open, locked data directory.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held as long as this process uses the directory.
    _lock: fs::File,
}

/// Keeps every broker out of a data directory that none uses now, for as long as it lives.
#[derive(Debug)]
pub struct DataDirLock {
    _lock: Option<fs::File>,
}

impl DataDirLock {
    /// Locks a directory that is there, without making anything in it: where no broker ever ran there is nothing to lock.
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        match fs::File::open(path.join(LOCK_FILE)) {
            Ok(lock) => lock_file(path, lock).map(|lock| Self { _lock: Some(lock) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { _lock: None }),
            Err(source) => Err(DataDirError::Unusable { path: path.to_owned(), source }),
        }
    }
}

fn lock_file(path: &Path, lock: fs::File) -> Result<fs::File, DataDirError> {
    match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::InUse(path.to_owned())),
        Err(errno) => Err(DataDirError::Unusable { path: path.to_owned(), source: errno.into() }),
    }
}

/// Why the data directory cannot be used, and the way out.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("data directory {path} is in use by another process: stop it, or choose another with --data-dir", path = .0.display())]
    InUse(PathBuf),
    #[error("data directory {path} cannot be written ({source}): mend its permissions, or choose another with --data-dir", path = .path.display())]
    Unusable { path: PathBuf, source: io::Error },
}

impl DataDir {
    /// Creates the directory if it is missing and locks it for this process.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(unusable)?;
        let options = fs::File::options().create(true).truncate(false).write(true).open(path.join(LOCK_FILE));
        let lock = lock_file(path, options.map_err(unusable)?)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn metadata_dir(&self) -> PathBuf {
        self.path.join(METADATA_DIR)
    }

    pub fn partition_dir(&self, topic: &str, partition: i32) -> PathBuf {
        self.path.join(format!("{topic}-{partition}"))
    }

    /// The directory of a partition that the metadata log knows. Its `partition.metadata` is written anew if it is missing or
    /// damaged: a flipped bit there must not cost the records beside it.
    pub fn known_partition(&self, topic: &str, partition: i32, id: Uuid) -> Result<PathBuf, StorageError> {
        let dir = self.partition_dir(topic, partition);
        match fs::read(dir.join(PARTITION_METADATA)) {
            Ok(found) if found == partition_metadata(id).into_bytes() => return Ok(dir),
            Ok(_) => tracing::warn!(dir = %dir.display(), "partition.metadata is damaged: written anew"),
            Err(_) => {}
        }
        self.make_partition(dir, id)
    }

    /// Makes a new partition's directory. One that another topic of the same name left behind is set aside.
    pub fn new_partition(&self, topic: &str, partition: i32, id: Uuid) -> Result<PathBuf, StorageError> {
        let dir = self.partition_dir(topic, partition);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.set_aside(topic, partition)?,
            Err(error) => return Err(failed("create", &dir, error)),
            Ok(()) => {}
        }
        self.make_partition(dir, id)
    }

    fn make_partition(&self, dir: PathBuf, id: Uuid) -> Result<PathBuf, StorageError> {
        let (file, wanted) = (dir.join(PARTITION_METADATA), partition_metadata(id));
        if fs::write(&file, &wanted).is_ok() {
            return Ok(dir);
        }
        fs::create_dir_all(&dir).map_err(|error| failed("create", &dir, error))?;
        fs::write(&file, wanted).map_err(|error| failed("write", &file, error))?;
        Ok(dir)
    }

    fn set_aside(&self, topic: &str, partition: i32) -> Result<(), StorageError> {
        let dir = self.partition_dir(topic, partition);
        let aside = self.path.join(marked_name(topic, partition, Uuid::new_v4(), STRAY_SUFFIX));
        tracing::warn!(from = %dir.display(), to = %aside.display(), "a directory of an unknown topic is set aside");
        fs::rename(&dir, &aside).map_err(|error| failed("rename", &dir, error))
    }

    /// Renames a partition's directory to Kafka's form for deleted ones; the files are still there.
    pub fn mark_deleted(&self, topic: &str, partition: i32) -> Result<PathBuf, StorageError> {
        let dir = self.partition_dir(topic, partition);
        let marked = self.path.join(marked_name(topic, partition, Uuid::new_v4(), DELETED_SUFFIX));
        fs::rename(&dir, &marked).map_err(|error| failed("rename", &dir, error))?;
        Ok(marked)
    }

    /// Removes what [`DataDir::mark_deleted`] marked.
    pub fn remove(&self, marked: &Path) {
        if let Err(error) = fs::remove_dir_all(marked) {
            tracing::warn!(path = %marked.display(), %error, "a deleted partition's files could not be removed; the next start tries again");
        }
    }

    /// Removes deletions that an earlier run did not finish.
    pub fn remove_leftovers(&self) -> Result<(), StorageError> {
        for entry in self.entries()? {
            if entry.to_str().is_some_and(|name| name.ends_with(DELETED_SUFFIX) && name.contains('.')) {
                self.remove(&self.path.join(entry));
            }
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<std::ffi::OsString>, StorageError> {
        let listing =
            fs::read_dir(&self.path).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        listing.map_err(|error| failed("list", &self.path, error))
    }
}

/// `topic-partition.<32 hex digits>-suffix`, the topic's name cut so that it fits.
fn marked_name(topic: &str, partition: i32, id: Uuid, suffix: &str) -> String {
    let tail = format!("-{partition}.{}{suffix}", id.simple());
    let kept = topic.get(..MAX_DIR_NAME_BYTES.saturating_sub(tail.len())).unwrap_or(topic);
    format!("{kept}{tail}")
}

fn partition_metadata(id: Uuid) -> String {
    format!("version: 0\ntopic_id: {}\n", kafka_uuid::to_kafka_string(id))
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> StorageError {
    StorageError::Io { operation, path: path.to_owned(), source }
}
