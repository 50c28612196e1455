//! Plays the transcripts in `tests/transcripts/` and compares what the coordinator does, line by line.
//!
//! A step is `TIME ACTOR VERB key=value ...` (time in ms); the indented lines below it are what it must bring about:
//! `ACTOR <- reply`, `+ record`, `- tombstone`; `@TIME` before one says that a deadline brought it about. `a#1` is the member
//! id that the first JoinGroup of the transcript would make up for client `a`. After each step, a fresh coordinator
//! from the records equals the live one. `TIFO_BLESS=1 cargo test` writes what happens into the files, to be read with care.
#![allow(clippy::unwrap_used)]

mod transcript;

use std::{fs, path::PathBuf};

#[test]
fn transcripts_hold() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 10, "the transcripts are missing");
    for path in paths {
        let written = fs::read_to_string(&path).unwrap();
        let played = transcript::play(&written);
        if std::env::var_os("TIFO_BLESS").is_some() {
            fs::write(&path, &played).unwrap();
        }
        assert!(
            played == written || std::env::var_os("TIFO_BLESS").is_some(),
            "{}\n{}",
            path.display(),
            first_difference(&written, &played)
        );
    }
}

fn first_difference(written: &str, played: &str) -> String {
    let mut played_lines = played.lines();
    for (number, line) in written.lines().enumerate() {
        let actual = played_lines.next().unwrap_or("(nothing)");
        if line != actual {
            return format!("line {}:\n  written: {line}\n  happens: {actual}\n\nwhole run:\n{played}", number + 1);
        }
    }
    format!("more happens than is written:\n{played}")
}
