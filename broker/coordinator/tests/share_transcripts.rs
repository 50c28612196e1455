//! Plays the transcripts in `tests/share_transcripts/` against share groups, a share partition and its kept state, line by line.
//!
//! A step is `TIME VERB word …` (time in ms); the indented lines below it are what it must bring about: `<- reply`, `+ record`,
//! `- tombstone`, `= what is in flight`; `@TIME` before one says that a deadline brought it about. After each step fresh
//! machines from the records equal the live ones. `TIFO_BLESS=1 cargo test` writes what happens into the files, to be read
//! with care.
#![allow(clippy::unwrap_used)]

mod share;

use std::{fs, path::PathBuf};

#[test]
fn transcripts_of_share_groups_hold() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/share_transcripts");
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 5, "the transcripts are missing");
    for path in paths {
        let written = fs::read_to_string(&path).unwrap();
        let played = share::play(&written);
        if std::env::var_os("TIFO_BLESS").is_some() {
            fs::write(&path, &played).unwrap();
            continue;
        }
        assert!(played == written, "{}\nwritten:\n{written}\nhappens:\n{played}", path.display());
    }
}
