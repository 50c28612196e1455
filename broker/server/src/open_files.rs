//! How many files this process may have open, and who gets how many of them.
//!
//! At the start the soft limit (`ulimit -n`) is raised to the hard one. Half of it is for segment files, which storage closes and opens
//! again as they are needed; the other half is kept for connections and for the files that are open only while they are used.

use rustix::process::{Resource, getrlimit, setrlimit};

/// What half of a limit is cut to: more open segments than that win nothing.
const MOST_SEGMENT_FILES: usize = 65_536;
/// Taken for the limit when there is none, or none that can be read.
const UNLIMITED: u64 = 1 << 20;

/// Raises the limit, and gives segment files their share: `setting` (`log.max.open.files`), or half.
pub fn share_out(setting: Option<usize>) {
    let limit = raised();
    let segment_files = setting.unwrap_or_else(|| segment_share(limit));
    tifo_storage::limit_open_files(segment_files);
    tracing::debug!(limit, segment_files, "open files");
    if u64::try_from(segment_files).is_ok_and(|files| files >= limit) {
        tracing::warn!(
            limit,
            segment_files,
            "log.max.open.files leaves no open file for connections: raise `ulimit -n`"
        );
    }
}

fn raised() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let before = limit.current;
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays as it is");
            limit.current = before;
        }
    }
    limit.current.unwrap_or(UNLIMITED)
}

fn segment_share(limit: u64) -> usize {
    usize::try_from(limit / 2).map_or(MOST_SEGMENT_FILES, |half| half.clamp(1, MOST_SEGMENT_FILES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_for_segments() {
        assert_eq!(segment_share(4096), 2048);
        assert_eq!(segment_share(1), 1);
        assert_eq!(segment_share(UNLIMITED), MOST_SEGMENT_FILES);
        assert_eq!(segment_share(u64::MAX), MOST_SEGMENT_FILES);
    }
}
