//! Plays the transcripts in `tests/transaction_transcripts/` against the transaction coordinator, line by line.
//!
//! A step is `TIME VERB key=value ...` (time in ms); the indented lines below it are what it must bring about: `<- reply`, `+ record`,
//! `- tombstone`, `markers: …` for what is to be written to partitions; `@TIME` before one says that a deadline brought it about.
//! Markers are taken as written, and the transaction as complete, by the step `markers-written`. After each step a fresh
//! coordinator from the records equals the live one. `TIFO_BLESS=1 cargo test` writes what happens into the files, to be read
//! with care.
#![allow(clippy::unwrap_used)]

mod transaction;

use std::{fs, path::PathBuf};

#[test]
fn transcripts_of_transactions_hold() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transaction_transcripts");
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 5, "the transcripts are missing");
    for path in paths {
        let written = fs::read_to_string(&path).unwrap();
        let played = transaction::play(&written);
        if std::env::var_os("TIFO_BLESS").is_some() {
            fs::write(&path, &played).unwrap();
            continue;
        }
        assert!(played == written, "{}\nwritten:\n{written}\nhappens:\n{played}", path.display());
    }
}
