//! A file system that fails on demand, or is cut off at any operation and says what a crash leaves behind.
//!
//! The live image is a real directory. Beside it, it keeps what is durable: of each file the bytes at its last sync, of each
//! directory the names at its last sync. Files and directories that did not come through it are not seen.

use crate::file_system::{FileSystem, OpenFile, RealFileSystem, read_exact_from};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsString,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

/// What is left after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// kill -9: everything that was written.
    Killed,
    /// A power cut; names are as they were, bytes that were not synced are gone.
    PowerCut,
    /// The same, but the lengths were written: the bytes that were not synced are zeros.
    PowerCutWithZeros,
    /// A power cut; names made, changed or removed since their directory was synced are as before.
    PowerCutBeforeNames,
    /// A power cut; the newest segment and the side files were written by chance, of older segments only what was synced.
    PowerCutOutOfOrder,
    /// The same, but the lengths were written.
    PowerCutOutOfOrderWithZeros,
}

pub const IMAGES: [Image; 6] = [
    Image::Killed,
    Image::PowerCut,
    Image::PowerCutWithZeros,
    Image::PowerCutBeforeNames,
    Image::PowerCutOutOfOrder,
    Image::PowerCutOutOfOrderWithZeros,
];

/// What happens at an operation.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// It fails with this errno and does nothing.
    Error(i32),
    /// An append writes half and says so.
    Short,
    /// An append writes at most so many bytes and says so.
    ShortOf(usize),
    /// An append writes half and fails with this errno.
    HalfThenError(i32),
}

pub const EIO: i32 = 5;
pub const EMFILE: i32 = 24;
pub const ENOSPC: i32 = 28;
pub const EDQUOT: i32 = 122;

#[derive(Debug, Default)]
struct State {
    /// Operations that change something, so far.
    changes: usize,
    /// From this change on, nothing works; an append at it writes half.
    cut_at: Option<usize>,
    /// Operation name, which of its calls from now on (0: the next), what happens, and whether it stays so.
    faults: Vec<(&'static str, usize, Fault, bool)>,
    /// Files and directories are told apart by a number that survives renames.
    ids: BTreeMap<PathBuf, usize>,
    dirs: HashSet<usize>,
    next_id: usize,
    synced_bytes: HashMap<usize, Vec<u8>>,
    /// Of each directory the names at its last sync.
    synced_names: HashMap<usize, BTreeMap<OsString, usize>>,
}

#[derive(Debug, Default)]
pub struct TestFileSystem {
    real: RealFileSystem,
    state: Mutex<State>,
}

impl TestFileSystem {
    pub fn cut_at(change: usize) -> Self {
        let state = State { cut_at: Some(change), ..State::default() };
        Self { real: RealFileSystem, state: Mutex::new(state) }
    }

    /// The `nth` call (0: the next) of `operation` meets this fault.
    pub fn fail(&self, operation: &'static str, nth: usize, fault: Fault) {
        self.state().faults.push((operation, nth, fault, false));
    }

    /// Every call of `operation` meets this fault, until [`TestFileSystem::heal`].
    pub fn fail_always(&self, operation: &'static str, fault: Fault) {
        self.state().faults.push((operation, 0, fault, true));
    }

    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Whether faults that were asked for have not been met.
    pub fn has_faults_left(&self) -> bool {
        !self.state().faults.is_empty()
    }

    pub fn changes(&self) -> usize {
        self.state().changes
    }

    /// Writes to `target` what a crash now leaves of `dir` and all below.
    pub fn leave(&self, image: Image, dir: &Path, target: &Path) {
        let state = self.state();
        std::fs::create_dir_all(target).unwrap();
        match image {
            Image::PowerCutBeforeNames => state.leave_synced(state.ids.get(dir).copied(), target),
            _ => state.leave_live(image, dir, target),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn reading(&self, operation: &'static str) -> io::Result<()> {
        match self.state().fault(operation) {
            Some(Fault::Error(errno) | Fault::HalfThenError(errno)) => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(()),
        }
    }

    fn changing(&self, operation: &'static str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        match state.fault(operation) {
            Some(Fault::Error(errno) | Fault::HalfThenError(errno)) => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(()),
        }
    }

    /// What an append of so many bytes does: how many are written, and how it ends.
    fn appending(&self, length: usize) -> (usize, Option<io::Error>) {
        let mut state = self.state();
        if let Err(error) = state.step() {
            let is_the_cut = state.cut_at.is_some_and(|cut| cut + 1 == state.changes);
            return (if is_the_cut { length / 2 } else { 0 }, Some(error));
        }
        match state.fault("append") {
            Some(Fault::Error(errno)) => (0, Some(io::Error::from_raw_os_error(errno))),
            Some(Fault::HalfThenError(errno)) => (length / 2, Some(io::Error::from_raw_os_error(errno))),
            Some(Fault::Short) => (length / 2, None),
            Some(Fault::ShortOf(most)) => (length.min(most), None),
            None => (length, None),
        }
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        self.changes += 1;
        match self.cut_at {
            Some(cut) if self.changes > cut => Err(io::Error::other("the machine is gone")),
            _ => Ok(()),
        }
    }

    fn fault(&mut self, operation: &'static str) -> Option<Fault> {
        let at = self.faults.iter().position(|(name, ..)| *name == operation)?;
        let (_, nth, fault, always) = &mut self.faults[at];
        if *nth > 0 {
            *nth -= 1;
            return None;
        }
        let (fault, always) = (*fault, *always);
        if !always {
            self.faults.remove(at);
        }
        Some(fault)
    }

    fn id(&mut self, path: &Path) -> usize {
        if let Some(id) = self.ids.get(path) {
            return *id;
        }
        self.next_id += 1;
        self.ids.insert(path.into(), self.next_id);
        self.next_id
    }

    fn dir_id(&mut self, path: &Path) -> usize {
        let id = self.id(path);
        self.dirs.insert(id);
        id
    }

    fn children<'a>(&'a self, dir: &'a Path) -> impl Iterator<Item = (&'a PathBuf, usize)> {
        self.ids.iter().filter(move |(path, _)| path.parent() == Some(dir)).map(|(path, id)| (path, *id))
    }

    fn leave_live(&self, image: Image, dir: &Path, target: &Path) {
        let is_segment = |path: &Path| path.extension().is_some_and(|extension| extension == "log");
        let newest = self.children(dir).map(|(path, _)| path).filter(|path| is_segment(path)).max();
        for (path, id) in self.children(dir) {
            let target = target.join(path.file_name().unwrap());
            if self.dirs.contains(&id) {
                std::fs::create_dir_all(&target).unwrap();
                self.leave_live(image, path, &target);
                continue;
            }
            let live = std::fs::read(path).unwrap_or_default();
            let mut content = self.synced_bytes.get(&id).cloned().unwrap_or_default();
            let by_chance = !is_segment(path) || Some(path) == newest;
            match image {
                Image::Killed => content = live,
                Image::PowerCutOutOfOrder | Image::PowerCutOutOfOrderWithZeros if by_chance => content = live,
                Image::PowerCutWithZeros | Image::PowerCutOutOfOrderWithZeros if live.len() > content.len() => {
                    content.resize(live.len(), 0);
                }
                _ => {}
            }
            std::fs::write(target, content).unwrap();
        }
    }

    fn leave_synced(&self, dir: Option<usize>, target: &Path) {
        for (name, id) in dir.and_then(|dir| self.synced_names.get(&dir)).into_iter().flatten() {
            let target = target.join(name);
            if self.dirs.contains(id) {
                std::fs::create_dir_all(&target).unwrap();
                self.leave_synced(Some(*id), &target);
            } else {
                std::fs::write(target, self.synced_bytes.get(id).map_or(&[][..], Vec::as_slice)).unwrap();
            }
        }
    }

    /// Names and bytes of everything in `dir` and below.
    fn sync_below(&mut self, dir: &Path) {
        self.dir_id(dir);
        let below: Vec<(PathBuf, usize)> =
            self.ids.iter().filter(|(path, _)| path.starts_with(dir)).map(|(path, id)| (path.clone(), *id)).collect();
        for (path, id) in below {
            if self.dirs.contains(&id) {
                self.sync_names(&path, id);
            } else {
                self.synced_bytes.insert(id, std::fs::read(&path).unwrap());
            }
        }
    }

    fn sync_names(&mut self, dir: &Path, id: usize) {
        let names = self.children(dir).map(|(path, id)| (path.file_name().unwrap().to_owned(), id)).collect();
        self.synced_names.insert(id, names);
    }

    /// A directory takes all below along.
    fn rename(&mut self, from: &Path, to: &Path) {
        let moved: Vec<_> = self.ids.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            let id = self.ids.remove(&path).unwrap();
            let rest = path.strip_prefix(from).unwrap();
            self.ids.insert(if rest.as_os_str().is_empty() { to.into() } else { to.join(rest) }, id);
        }
    }
}

impl FileSystem for TestFileSystem {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<_> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
        if !missing.is_empty() {
            self.changing("create_dir")?;
        }
        self.real.create_dir_all(dir)?;
        for dir in missing {
            self.state().dir_id(dir);
        }
        Ok(())
    }

    fn list_dir(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.reading("list_dir")?;
        self.real.list_dir(dir)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<OpenFile> {
        if create && !path.exists() {
            self.changing("create")?;
        } else {
            self.reading("open")?;
        }
        let file = self.real.open(path, create)?;
        self.state().id(path);
        Ok(file)
    }

    fn length(&self, file: &OpenFile) -> io::Result<u64> {
        self.real.length(file)
    }

    fn modified_ms(&self, file: &OpenFile) -> io::Result<i64> {
        self.real.modified_ms(file)
    }

    fn append(&self, file: &OpenFile, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let whole: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let (written, error) = self.appending(whole.len());
        if written > 0 {
            let count = self.real.append(file, &[IoSlice::new(&whole[..written])])?;
            assert_eq!(count, written);
        }
        error.map_or(Ok(written), Err)
    }

    fn read_at(&self, file: &OpenFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.reading("read_at")?;
        self.real.read_at(file, buffer, position)
    }

    fn truncate(&self, file: &OpenFile, length: u64) -> io::Result<()> {
        self.changing("truncate")?;
        self.real.truncate(file, length)
    }

    fn sync_data(&self, file: &OpenFile) -> io::Result<()> {
        self.changing("sync_data")?;
        let mut content = vec![0; usize::try_from(self.real.length(file)?).unwrap()];
        read_exact_from(&file.file, &mut content, 0)?;
        let mut state = self.state();
        // A file that was renamed or removed since it was opened is not followed.
        if let Some(id) = state.ids.get(&*file.path).copied() {
            state.synced_bytes.insert(id, content);
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.changing("sync_dir")?;
        let mut state = self.state();
        let id = state.dir_id(dir);
        state.sync_names(dir, id);
        Ok(())
    }

    fn sync_everything(&self, dir: &Path) -> io::Result<()> {
        self.changing("sync_everything")?;
        self.state().sync_below(dir);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.changing("rename")?;
        self.real.rename(from, to)?;
        self.state().rename(from, to);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.changing("remove_file")?;
        self.real.remove_file(path)?;
        self.state().ids.remove(path);
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.changing("remove_dir")?;
        self.real.remove_dir(dir)?;
        self.state().ids.remove(dir);
        Ok(())
    }
}
