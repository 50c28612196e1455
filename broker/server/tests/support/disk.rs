//! A file system whose calls on one partition can be held, failed or counted.
#![allow(clippy::unwrap_used)]

use parking_lot::{Condvar, Mutex};
use std::{
    io::{self, IoSlice},
    path::Path,
};
use tifo_storage::file_system::{FileSystem, OpenFile, RealFileSystem};

#[derive(Debug, Default)]
struct State {
    /// Part of the path, operation.
    held: Option<(String, &'static str)>,
    /// How many calls are held right now.
    waiting: usize,
    /// Part of the path, operation, errno, how many times.
    failing: Option<(String, &'static str, i32, usize)>,
    syncs: usize,
}

/// Disk under test.
#[derive(Debug, Default)]
pub struct Disk {
    real: RealFileSystem,
    state: Mutex<State>,
    changed: Condvar,
}

impl Disk {
    /// From now on calls of `operation` on paths with `part` do not come back.
    pub fn hold(&self, part: &str, operation: &'static str) {
        self.state.lock().held = Some((part.to_owned(), operation));
    }

    pub fn release(&self) {
        self.state.lock().held = None;
        self.changed.notify_all();
    }

    /// Returns when a call is held.
    pub fn wait_until_held(&self) {
        let mut state = self.state.lock();
        while state.waiting == 0 {
            self.changed.wait(&mut state);
        }
    }

    pub fn fail(&self, part: &str, operation: &'static str, errno: i32, times: usize) {
        self.state.lock().failing = Some((part.to_owned(), operation, errno, times));
    }

    /// Files of partitions that were synced so far.
    pub fn syncs(&self) -> usize {
        self.state.lock().syncs
    }

    fn meet(&self, path: &Path, operation: &'static str) -> io::Result<()> {
        let mut state = self.state.lock();
        let path_text = path.to_str().unwrap();
        // The metadata log is synced whenever the maintenance comes by.
        state.syncs += usize::from(operation == "sync_data" && !path_text.contains("/metadata/"));
        let concerns = |part: &str, of: &str| of == operation && path_text.contains(part);
        if let Some((part, of, errno, times)) = &mut state.failing
            && *times > 0
            && concerns(part, of)
        {
            *times -= 1;
            return Err(io::Error::from_raw_os_error(*errno));
        }
        while state.held.as_ref().is_some_and(|(part, of)| concerns(part, of)) {
            state.waiting += 1;
            self.changed.notify_all();
            self.changed.wait(&mut state);
            state.waiting -= 1;
        }
        Ok(())
    }
}

impl FileSystem for Disk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.real.create_dir_all(dir)
    }

    fn list_dir(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.real.list_dir(dir)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<OpenFile> {
        self.meet(path, "open")?;
        self.real.open(path, create)
    }

    fn length(&self, file: &OpenFile) -> io::Result<u64> {
        self.real.length(file)
    }

    fn modified_ms(&self, file: &OpenFile) -> io::Result<i64> {
        self.real.modified_ms(file)
    }

    fn append(&self, file: &OpenFile, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.meet(&file.path, "append")?;
        self.real.append(file, slices)
    }

    fn read_at(&self, file: &OpenFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.real.read_at(file, buffer, position)
    }

    fn truncate(&self, file: &OpenFile, length: u64) -> io::Result<()> {
        self.real.truncate(file, length)
    }

    fn sync_data(&self, file: &OpenFile) -> io::Result<()> {
        self.meet(&file.path, "sync_data")?;
        self.real.sync_data(file)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.meet(dir, "sync_dir")?;
        self.real.sync_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.real.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.real.remove_dir(dir)
    }
}
