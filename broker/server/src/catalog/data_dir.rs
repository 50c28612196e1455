//! The data directory: its lock, and the partition directories in it. All but the lock goes through the file-system seam.
//!
//! `topic-partition/` holds a partition's log and its `partition.metadata`; `metadata/` the metadata log (no topic's
//! directory can have that name: theirs end in a dash and a number); `.lock` keeps a second process out. A directory that ends in
//! `-delete` waits for its removal; one that ends in `-stray` belongs to a topic that nobody knows, and stays.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tifo_storage::{
    DELETE_SUFFIX, Doomed, StorageError, create_partition_metadata, file_system::FileSystem, mark_clean_shutdown,
    read_partition_metadata, withdraw_clean_shutdown, write_partition_metadata,
};
use uuid::Uuid;

const LOCK_FILE: &str = ".lock";
const METADATA_DIR: &str = "metadata";
const STRAY_SUFFIX: &str = "-stray";
/// Longest name of a directory.
const MAX_DIR_NAME_BYTES: usize = 255;

/// The open, locked data directory.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    file_system: Arc<dyn FileSystem>,
    /// Held as long as this process uses the directory.
    lock: fs::File,
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
    pub fn open(path: &Path, file_system: Arc<dyn FileSystem>) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable { path: path.to_owned(), source };
        file_system.create_dir_all(path).map_err(unusable)?;
        let options = fs::File::options().create(true).truncate(false).write(true).open(path.join(LOCK_FILE));
        let lock = lock_file(path, options.map_err(unusable)?)?;
        Ok(Self { path: path.to_owned(), file_system, lock })
    }

    /// Says to whoever looks from outside that everything in here was closed cleanly; or, before anything is opened, no more.
    pub fn mark_clean(&self) -> Result<(), StorageError> {
        mark_clean_shutdown(&*self.file_system, &self.path)
    }

    pub fn withdraw_mark(&self) -> Result<(), StorageError> {
        withdraw_clean_shutdown(&*self.file_system, &self.path)
    }

    /// Lets another broker use the directory, though somebody may still hold this value: a thread that looked after a log that is
    /// closed by now.
    pub fn unlock(&self) {
        if let Err(error) = rustix::fs::flock(&self.lock, rustix::fs::FlockOperation::Unlock) {
            tracing::warn!(%error, "the data directory stays locked until the process ends");
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn metadata_dir(&self) -> PathBuf {
        self.path.join(METADATA_DIR)
    }

    pub fn partition_dir(&self, topic: &str, partition: i32) -> PathBuf {
        self.path.join(dir_name(topic, partition))
    }

    /// The directory of a partition that the metadata log knows. Its `partition.metadata` is written anew if it is missing or
    /// damaged: a flipped bit there must not cost the records beside it.
    pub fn known_partition(&self, topic: &str, partition: i32, id: Uuid) -> Result<PathBuf, StorageError> {
        let dir = self.partition_dir(topic, partition);
        match self.owner(&dir)? {
            Some(owner) if owner == id => return Ok(dir),
            Some(_) => tracing::warn!(dir = %dir.display(), "partition.metadata names another topic: written anew"),
            None => {}
        }
        self.make_directory(&dir)?;
        write_partition_metadata(&*self.file_system, &dir, id)?;
        Ok(dir)
    }

    /// Makes a new partition's directory. One that another topic of the same name left behind is set aside.
    pub fn new_partition(&self, topic: &str, partition: i32, id: Uuid) -> Result<PathBuf, StorageError> {
        let dir = self.partition_dir(topic, partition);
        match self.file_system.list_dir(&dir) {
            Ok(_) => self.set_aside(topic, partition)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("list", &dir, error)),
        }
        self.make_directory(&dir)?;
        create_partition_metadata(&*self.file_system, &dir, id)?;
        Ok(dir)
    }

    fn make_directory(&self, dir: &Path) -> Result<(), StorageError> {
        self.file_system.create_dir_all(dir).map_err(|error| failed("create", dir, error))
    }

    /// Whose directory it is; None if that is not said, or no more since a power cut: then the metadata log decides.
    fn owner(&self, dir: &Path) -> Result<Option<Uuid>, StorageError> {
        match read_partition_metadata(&*self.file_system, dir) {
            Err(error @ StorageError::Corrupt { .. }) => {
                tracing::warn!(%error, "the directory is taken for that of the topic whose name it bears");
                Ok(None)
            }
            owner => owner,
        }
    }

    fn set_aside(&self, topic: &str, partition: i32) -> Result<(), StorageError> {
        let dir = self.partition_dir(topic, partition);
        let aside = self.path.join(marked_name(topic, partition, Uuid::new_v4(), STRAY_SUFFIX));
        tracing::warn!(from = %dir.display(), to = %aside.display(), "a directory of an unknown topic is set aside");
        self.file_system.rename(&dir, &aside).map_err(|error| failed("rename", &dir, error))
    }

    /// Renames a partition's directory to Kafka's form for deleted ones; the files stay for `delay_ms`.
    pub fn mark_deleted(&self, topic: &str, partition: i32, delay_ms: i64) -> Result<Doomed, StorageError> {
        let dir = self.partition_dir(topic, partition);
        let marked = self.path.join(marked_name(topic, partition, Uuid::new_v4(), DELETE_SUFFIX));
        self.file_system.rename(&dir, &marked).map_err(|error| failed("rename", &dir, error))?;
        Ok(Doomed::directory(self.file_system.clone(), marked, delay_ms))
    }

    /// What deletions that an earlier run did not finish left behind: directories that were renamed already, and those of deleted
    /// topics that were not.
    pub fn leftovers(&self, known: &Known<'_>) -> Result<Vec<Doomed>, StorageError> {
        let renamed = self.names()?.into_iter().filter(|name| name.ends_with(DELETE_SUFFIX) && name.contains('.'));
        let mut doomed: Vec<Doomed> =
            renamed.map(|name| Doomed::directory(self.file_system.clone(), self.path.join(name), 0)).collect();
        for left in self.left_behind(known)? {
            doomed.push(self.mark_deleted(&left.topic, left.partition, 0)?);
        }
        Ok(doomed)
    }

    /// Directories of deleted topics that still bear their first names. Those of partitions that are hosted are not looked at.
    pub fn left_behind(&self, known: &Known<'_>) -> Result<Vec<LeftBehind>, StorageError> {
        let mut found = Vec::new();
        for name in self.names()? {
            if let Some((topic, partition)) = parse_dir_name(&name)
                && !known.hosts(topic, partition)
                && let Some(id) = self.owner(&self.path.join(&name))?.filter(|owner| known.deleted.contains(owner))
            {
                found.push(LeftBehind { topic: topic.to_owned(), partition, id });
            }
        }
        Ok(found)
    }

    /// Brings the names of all partitions' directories to stable storage.
    pub fn sync_names(&self) -> Result<(), StorageError> {
        self.file_system.sync_dir(&self.path).map_err(|error| failed("sync", &self.path, error))
    }

    fn names(&self) -> Result<Vec<String>, StorageError> {
        self.file_system.list_dir(&self.path).map_err(|error| failed("list", &self.path, error))
    }
}

/// What the metadata log knows of the directories here.
#[derive(Debug)]
pub struct Known<'a> {
    /// Partitions of each topic that exists.
    pub hosted: HashMap<&'a str, i32>,
    pub deleted: &'a HashSet<Uuid>,
}

impl Known<'_> {
    fn hosts(&self, topic: &str, partition: i32) -> bool {
        self.hosted.get(topic).is_some_and(|partitions| partition < *partitions)
    }
}

/// A directory whose topic is gone.
#[derive(Debug)]
pub struct LeftBehind {
    topic: String,
    partition: i32,
    pub id: Uuid,
}

fn dir_name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// Topic and partition, if it can be the name of a partition's directory.
fn parse_dir_name(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let partition = partition.parse().ok()?;
    (dir_name(topic, partition) == name).then_some((topic, partition))
}

/// `topic-partition.<32 hex digits>-suffix`, the topic's name cut so that it fits.
fn marked_name(topic: &str, partition: i32, id: Uuid, suffix: &str) -> String {
    let tail = format!("-{partition}.{}{suffix}", id.simple());
    let kept = topic.get(..MAX_DIR_NAME_BYTES.saturating_sub(tail.len())).unwrap_or(topic);
    format!("{kept}{tail}")
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> StorageError {
    StorageError::Io { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_partition_directories() {
        assert_eq!(parse_dir_name("a-b-12"), Some(("a-b", 12)));
        for name in ["metadata", "a-", "a-01", "a-+1", "a-1.00000000000000000000000000000000-delete"] {
            assert_eq!(parse_dir_name(name), None, "{name}");
        }
        assert!(marked_name(&"x".repeat(249), 1000, Uuid::nil(), DELETE_SUFFIX).len() <= MAX_DIR_NAME_BYTES);
    }
}
