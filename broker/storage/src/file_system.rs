//! The one seam through which every file access of this crate passes, so that tests can fail it or crash it.

/// Where files live. The real one, and (in tests) one that keeps a live and a durable image.
pub trait FileSystem: Send + Sync + std::fmt::Debug + 'static {}

/// The operating system's files.
#[derive(Debug, Default)]
pub struct RealFileSystem;

impl FileSystem for RealFileSystem {}
