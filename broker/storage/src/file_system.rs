//! The one seam through which every file access of this crate passes, so that tests can fail it or crash it.
//!
//! The operations are the few that a log needs, no more. The only byte that does not pass here is one that a
//! [`crate::LogSlice`] takes (or the kernel, by sendfile) from its open file.

use crate::{StorageError, open_files::give_some_back};
use std::{
    fs::File,
    io::{self, IoSlice, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// An open file and the path it was opened by.
#[derive(Debug, Clone)]
pub struct OpenFile {
    pub path: Arc<Path>,
    pub file: Arc<File>,
}

/// Size of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub total_bytes: u64,
    /// What this process may still write.
    pub usable_bytes: u64,
}

/// Where files live. The real one, and (in tests) one that fails or keeps a live and a durable image.
pub trait FileSystem: Send + Sync + std::fmt::Debug + 'static {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Names of the entries of `dir`.
    fn list_dir(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Opens for reading and appending; creates it if `create`.
    fn open(&self, path: &Path, create: bool) -> io::Result<OpenFile>;
    fn length(&self, file: &OpenFile) -> io::Result<u64>;
    /// When it was last written, ms since the epoch.
    fn modified_ms(&self, file: &OpenFile) -> io::Result<i64>;
    /// Writes at the end of the file; like writev it may write less than asked.
    fn append(&self, file: &OpenFile, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Reads at `position`; like pread it may read less than asked, 0 only at the end.
    fn read_at(&self, file: &OpenFile, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    fn truncate(&self, file: &OpenFile, length: u64) -> io::Result<()>;
    fn sync_data(&self, file: &OpenFile) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Everything on the disk that holds `dir`, names and bytes; not every system can say whether that worked.
    fn sync_everything(&self, _dir: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// How large the volume that holds `dir` is; not every system can say.
    fn space(&self, _dir: &Path) -> io::Result<Space> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug, Default)]
pub struct RealFileSystem;

impl FileSystem for RealFileSystem {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn list_dir(&self, dir: &Path) -> io::Result<Vec<String>> {
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<OpenFile> {
        let file = File::options().read(true).append(true).create(create).open(path)?;
        Ok(OpenFile { path: path.into(), file: Arc::new(file) })
    }

    fn length(&self, file: &OpenFile) -> io::Result<u64> {
        Ok(file.file.metadata()?.len())
    }

    fn modified_ms(&self, file: &OpenFile) -> io::Result<i64> {
        let since_epoch = file.file.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH);
        Ok(since_epoch.map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)))
    }

    fn append(&self, file: &OpenFile, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*file.file).write_vectored(slices)
    }

    fn read_at(&self, file: &OpenFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        positioned_read(&file.file, buffer, position)
    }

    fn truncate(&self, file: &OpenFile, length: u64) -> io::Result<()> {
        file.file.set_len(length)
    }

    fn sync_data(&self, file: &OpenFile) -> io::Result<()> {
        file.file.sync_data()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Windows has no such call, and needs none.
        if cfg!(windows) { Ok(()) } else { File::open(dir)?.sync_all() }
    }

    #[cfg(target_os = "linux")]
    fn sync_everything(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(dir)?)?)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let volume = rustix::fs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
        Ok(Space { total_bytes: bytes(volume.f_blocks), usable_bytes: bytes(volume.f_bavail) })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir(dir)
    }
}

#[cfg(unix)]
fn positioned_read(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, position)
}

#[cfg(windows)]
fn positioned_read(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, position)
}

/// Opens through the seam. When the process has no descriptor left, segment files that nobody uses are closed for it.
pub(crate) fn open(file_system: &dyn FileSystem, path: &Path, create: bool) -> io::Result<OpenFile> {
    match file_system.open(path, create) {
        Err(error) if is_out_of_descriptors(&error) && give_some_back() => file_system.open(path, create),
        opened => opened,
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    /// Of the system, and of the process (the same numbers on every Unix).
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    cfg!(unix) && matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Fills `buffer` from `position`; an early end is an error.
pub(crate) fn read_exact_from(file: &File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    read_fully(buffer, position, |rest, at| positioned_read(file, rest, at))
}

/// Fills `buffer` through the seam.
pub(crate) fn read_exact_at(
    file_system: &dyn FileSystem,
    file: &OpenFile,
    buffer: &mut [u8],
    position: u64,
) -> Result<(), StorageError> {
    read_fully(buffer, position, |rest, at| file_system.read_at(file, rest, at)).map_err(io_error("read", &file.path))
}

fn read_fully(buffer: &mut [u8], position: u64, read: impl Fn(&mut [u8], u64) -> io::Result<usize>) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match read(rest, position + bytes(filled)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a small file whole; None if it does not exist. Longer than `limit` is an error.
pub(crate) fn read_small(
    file_system: &dyn FileSystem,
    path: &Path,
    limit: u64,
) -> Result<Option<Vec<u8>>, StorageError> {
    let file = match open(file_system, path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", path)(error)),
    };
    let length = file_system.length(&file).map_err(io_error("stat", path))?;
    if length > limit {
        let reason = format!("{length} bytes, at most {limit} are expected");
        return Err(StorageError::Corrupt { path: path.into(), position: 0, reason });
    }
    let mut content = vec![0; usize::try_from(length).unwrap_or(0)];
    read_exact_at(file_system, &file, &mut content, 0)?;
    Ok(Some(content))
}

/// Replaces `path` by `content` so that either the old or the new content is there, also after a power cut.
pub(crate) fn write_atomically(file_system: &dyn FileSystem, path: &Path, content: &[u8]) -> Result<(), StorageError> {
    replace(file_system, path, content, true)
}

/// The same for a file that can be made anew: after a power cut it may be there in part, or empty.
pub(crate) fn write_unsynced(file_system: &dyn FileSystem, path: &Path, content: &[u8]) -> Result<(), StorageError> {
    replace(file_system, path, content, false)
}

/// Makes a file that is not there yet and can be made anew: a crash may leave it in part, or empty.
pub(crate) fn write_new(file_system: &dyn FileSystem, path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let file = open(file_system, path, true).map_err(io_error("create", path))?;
    append_all(file_system, &file, content)
}

fn replace(file_system: &dyn FileSystem, path: &Path, content: &[u8], sync: bool) -> Result<(), StorageError> {
    let temporary = suffixed(path, TEMPORARY_SUFFIX);
    let written = write_temporary(file_system, &temporary, content, sync)
        .and_then(|()| file_system.rename(&temporary, path).map_err(io_error("rename", &temporary)));
    written.inspect_err(|_| {
        // A full disk gets its bytes back; if even this fails, the next open sweeps.
        let _ = file_system.remove_file(&temporary);
    })
}

fn write_temporary(file_system: &dyn FileSystem, path: &Path, content: &[u8], sync: bool) -> Result<(), StorageError> {
    let file = open(file_system, path, true).map_err(io_error("create", path))?;
    // Only what a crash left: ext4 takes any cut to nothing for a replacement, and begins to write the file at once when it is closed.
    if file_system.length(&file).map_err(io_error("stat", path))? > 0 {
        file_system.truncate(&file, 0).map_err(io_error("truncate", path))?;
    }
    append_all(file_system, &file, content)?;
    if sync { file_system.sync_data(&file).map_err(io_error("sync", path)) } else { Ok(()) }
}

/// Appends all of `content`.
pub(crate) fn append_all(file_system: &dyn FileSystem, file: &OpenFile, content: &[u8]) -> Result<(), StorageError> {
    let mut rest = content;
    while !rest.is_empty() {
        let count = match file_system.append(file, &[IoSlice::new(rest)]) {
            Ok(0) => return Err(io_error("append to", &file.path)(io::ErrorKind::WriteZero.into())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(io_error("append to", &file.path)(error)),
        };
        rest = rest.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// Removes a file that may be gone already.
pub(crate) fn remove_if_there(file_system: &dyn FileSystem, path: &Path) -> Result<(), StorageError> {
    match file_system.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

/// What a half-written replacement is called; swept away at open.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

pub(crate) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// For `map_err`: names the operation and the file.
pub(crate) fn io_error<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StorageError + 'a {
    move |source| StorageError::Io { operation, path: path.into(), source }
}

/// The process or the machine has no file descriptor left: the operation did not begin, and may work later.
pub(crate) fn is_out_of_files(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { source, .. } if is_out_of_descriptors(source))
}

/// A length in memory as a length on disk.
pub(crate) fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
