//! The process's open segment files. Bounded: the one that was not used for longest is closed first.
//!
//! One list for all logs, as the limit of open files is the process's. Active and sealed segments are the same here: a segment
//! that is closed is opened again when it is next needed. A hit takes no lock but the segment's own; who was used is marked by a flag
//! that a hand on its way round the list clears (second chance), which is as good as a true order and costs nothing.
//! A file that a [`crate::LogSlice`] or a sync still holds is passed over, and is never closed under it.

use crate::{StorageError, file_system::OpenFile};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, TryLockError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Until the process says what it can afford; within the 1,024 that a process may have open everywhere.
const DEFAULT_LIMIT: usize = 512;
/// Share of the files that is closed when the operating system has no descriptor left: one in so many.
const SHARE_GIVEN_BACK: usize = 8;

static OPEN_FILES: OpenFiles = OpenFiles::new(DEFAULT_LIMIT);

/// Bounds how many segment files this process keeps open; beyond it the one unused for longest is closed.
pub fn limit_open_files(limit: usize) {
    OPEN_FILES.set_limit(limit);
}

/// Segment files that this process has open now.
pub fn open_file_count() -> usize {
    OPEN_FILES.len()
}

/// The operating system has no descriptor left: closes some, true if there were any.
pub(crate) fn give_some_back() -> bool {
    OPEN_FILES.give_some_back()
}

#[derive(Debug)]
struct OpenFiles {
    limit: AtomicUsize,
    ring: Mutex<Ring>,
}

/// Every slot with an open file, and where the hand stands.
#[derive(Debug)]
struct Ring {
    slots: Vec<Arc<Slot>>,
    hand: usize,
}

#[derive(Debug)]
struct Slot {
    file: Mutex<Option<OpenFile>>,
    used: AtomicBool,
    /// Index in the ring, changed under its lock only.
    place: AtomicUsize,
}

const NOT_IN_RING: usize = usize::MAX;

/// A file that is opened when it is needed and may be closed at any time between two uses.
#[derive(Debug)]
pub(crate) struct CachedFile {
    slot: Arc<Slot>,
    all: &'static OpenFiles,
}

impl Default for CachedFile {
    fn default() -> Self {
        Self::among(&OPEN_FILES)
    }
}

impl CachedFile {
    fn among(all: &'static OpenFiles) -> Self {
        let slot = Slot { file: Mutex::default(), used: AtomicBool::new(false), place: AtomicUsize::new(NOT_IN_RING) };
        Self { slot: Arc::new(slot), all }
    }

    /// The open file; `open` is called if there is none.
    pub fn get(&self, open: impl FnOnce() -> Result<OpenFile, StorageError>) -> Result<OpenFile, StorageError> {
        self.slot.used.store(true, Ordering::Relaxed);
        let file = {
            let mut file = lock(&self.slot.file);
            if let Some(file) = &*file {
                return Ok(file.clone());
            }
            file.insert(open()?).clone()
        };
        self.all.enter(&self.slot);
        Ok(file)
    }

    /// Closes the file until it is needed again.
    pub fn release(&self) {
        self.all.leave(&self.slot);
        *lock(&self.slot.file) = None;
    }

    #[cfg(test)]
    pub fn is_open(&self) -> bool {
        lock(&self.slot.file).is_some()
    }
}

impl Drop for CachedFile {
    fn drop(&mut self) {
        self.all.leave(&self.slot);
    }
}

impl OpenFiles {
    const fn new(limit: usize) -> Self {
        Self { limit: AtomicUsize::new(limit), ring: Mutex::new(Ring { slots: Vec::new(), hand: 0 }) }
    }

    fn set_limit(&self, limit: usize) {
        self.limit.store(limit.max(1), Ordering::Relaxed);
        let mut ring = lock(&self.ring);
        let surplus = ring.slots.len().saturating_sub(limit.max(1));
        ring.close(surplus);
    }

    fn len(&self) -> usize {
        lock(&self.ring).slots.len()
    }

    fn enter(&self, slot: &Arc<Slot>) {
        let mut ring = lock(&self.ring);
        if slot.place.load(Ordering::Relaxed) != NOT_IN_RING {
            return;
        }
        let surplus = (ring.slots.len() + 1).saturating_sub(self.limit.load(Ordering::Relaxed));
        ring.close(surplus);
        slot.place.store(ring.slots.len(), Ordering::Relaxed);
        ring.slots.push(slot.clone());
    }

    fn leave(&self, slot: &Slot) {
        let mut ring = lock(&self.ring);
        let place = slot.place.load(Ordering::Relaxed);
        if place != NOT_IN_RING {
            ring.take(place);
        }
    }

    fn give_some_back(&self) -> bool {
        let mut ring = lock(&self.ring);
        let share = ring.slots.len().div_ceil(SHARE_GIVEN_BACK);
        ring.close(share) > 0
    }
}

impl Ring {
    /// Closes so many files, fewer if the others are in use; returns how many. Twice round at most: the first time clears the flags.
    fn close(&mut self, wanted: usize) -> usize {
        let (mut closed, mut steps) = (0, self.slots.len().saturating_mul(2));
        while closed < wanted && steps > 0 && !self.slots.is_empty() {
            steps -= 1;
            self.hand = if self.hand < self.slots.len() { self.hand } else { 0 };
            if self.slots.get(self.hand).is_some_and(|slot| slot.close()) {
                // The last one comes to this place, and is looked at next.
                self.take(self.hand);
                closed += 1;
            } else {
                self.hand += 1;
            }
        }
        closed
    }

    fn take(&mut self, place: usize) {
        if place >= self.slots.len() {
            return;
        }
        let gone = self.slots.swap_remove(place);
        gone.place.store(NOT_IN_RING, Ordering::Relaxed);
        if let Some(moved) = self.slots.get(place) {
            moved.place.store(place, Ordering::Relaxed);
        }
    }
}

impl Slot {
    /// False if it was used since the hand came by, or is in use. Never waits: the ring's lock is held.
    fn close(&self) -> bool {
        if self.used.swap(false, Ordering::Relaxed) {
            return false;
        }
        let mut file = match self.file.try_lock() {
            Ok(file) => file,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let in_use = file.as_ref().is_some_and(|open| Arc::strong_count(&open.file) > 1);
        if !in_use {
            *file = None;
        }
        !in_use
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        file_system::{FileSystem, RealFileSystem},
        testing::temporary_dir,
    };
    use std::cell::Cell;

    /// A list of its own, so that tests do not disturb each other.
    fn files(limit: usize) -> &'static OpenFiles {
        Box::leak(Box::new(OpenFiles::new(limit)))
    }

    #[test]
    fn the_file_unused_for_longest_is_closed() {
        let (dir, all) = (temporary_dir(), files(3));
        let (opened, path) = (Cell::new(0), dir.path().join("file"));
        let use_it = |file: &CachedFile| {
            file.get(|| {
                opened.set(opened.get() + 1);
                Ok(RealFileSystem.open(&path, true).unwrap())
            })
            .unwrap()
        };
        let four: Vec<CachedFile> = (0..4).map(|_| CachedFile::among(all)).collect();
        four[..3].iter().for_each(|file| drop(use_it(file)));
        // A full list of used files: the hand goes round once and takes the first.
        use_it(&four[3]);
        assert_eq!((all.len(), four[0].is_open()), (3, false));
        use_it(&four[1]);
        use_it(&four[0]);
        assert_eq!((four[1].is_open(), four[2].is_open(), opened.get()), (true, false, 5));
    }

    #[test]
    fn a_file_in_use_is_not_closed() {
        let (dir, all) = (temporary_dir(), files(2));
        let path = dir.path().join("file");
        let five: Vec<CachedFile> = (0..5).map(|_| CachedFile::among(all)).collect();
        let open = || Ok(RealFileSystem.open(&path, true).unwrap());
        let held: Vec<OpenFile> = five.iter().map(|file| file.get(open).unwrap()).collect();
        assert_eq!(all.len(), 5);
        drop(held);
        all.set_limit(2);
        assert_eq!((all.len(), five.iter().filter(|file| file.is_open()).count()), (2, 2));
        assert!(all.give_some_back());
        assert_eq!(all.len(), 1);
        drop(five);
        assert_eq!(all.len(), 0);
        assert!(!all.give_some_back());
    }

    #[test]
    fn many_threads_share_few_files() {
        let (dir, all) = (temporary_dir(), files(4));
        let path = dir.path().join("file");
        let many: Vec<CachedFile> = (0..32).map(|_| CachedFile::among(all)).collect();
        std::thread::scope(|scope| {
            for thread in 0..4usize {
                let (many, path) = (&many, &path);
                scope.spawn(move || {
                    for round in 0..500 {
                        let file = &many[(round * (thread + 1)) % many.len()];
                        file.get(|| Ok(RealFileSystem.open(path, true).unwrap())).unwrap();
                        if round % 17 == 0 {
                            file.release();
                        }
                    }
                });
            }
        });
        all.set_limit(4);
        let open = many.iter().filter(|file| file.is_open()).count();
        assert!(all.len() <= 4 && open <= all.len(), "{open} of {}", all.len());
    }
}
