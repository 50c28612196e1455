//! Check of what a partition has once, or beside its segments: producer snapshots, leader epochs, topic id.

use super::partition::Check;
use crate::{
    StorageError, checkpoint,
    compaction::CleanerCheckpoint,
    leader_epochs::{self, LeaderEpochs},
    partition_metadata,
    producer_state::{MAX_SNAPSHOT_BYTES, ProducerStates},
    segment::FileKind,
    start_offset,
};

pub(super) fn check(check: &mut Check<'_>) -> Result<(), StorageError> {
    snapshots(check)?;
    leader_epochs(check)?;
    log_start(check)?;
    cleaner_checkpoint(check)?;
    topic_id(check)
}

fn log_start(check: &mut Check<'_>) -> Result<(), StorageError> {
    let Some(content) = check.read(start_offset::FILE_NAME, start_offset::MAX_BYTES)? else { return Ok(()) };
    match start_offset::decode(&content) {
        Some(start) => check.written_start = start,
        None => check.damage(
            start_offset::FILE_NAME,
            "it does not parse, or its CRC does not fit",
            "the log starts at its first segment: deleted records in it may be read again",
            "removed; the log starts where the checkpoint says",
        ),
    }
    Ok(())
}

fn cleaner_checkpoint(check: &mut Check<'_>) -> Result<(), StorageError> {
    let content = check.read(CleanerCheckpoint::FILE_NAME, CleanerCheckpoint::MAX_BYTES)?;
    if content.is_some_and(|content| CleanerCheckpoint::decode(&content).is_none()) {
        let name = CleanerCheckpoint::FILE_NAME;
        check.harmless(
            name,
            "it does not parse, or its CRC does not fit",
            "the log is compacted from its start again",
            "removed",
        );
    }
    Ok(())
}

fn snapshots(check: &mut Check<'_>) -> Result<(), StorageError> {
    for name in check.names.clone().iter().filter(|name| FileKind::Snapshot.parse(name).is_some()) {
        let content = check.read(name, MAX_SNAPSHOT_BYTES)?.unwrap_or_default();
        if let Err(error) = ProducerStates::decode(&content, 0) {
            check.harmless(name, &error.0, "what it holds is read from the log instead", "made anew if it is needed");
        }
    }
    let Some(checkpoint) = check.checkpoint.filter(|checkpoint| checkpoint.producers > 0) else { return Ok(()) };
    let name = FileKind::Snapshot.name(checkpoint.next_offset);
    if !check.has(&name) {
        check.harmless(&name, "it is missing", "what it held is read from the log instead", "made anew");
    }
    Ok(())
}

fn leader_epochs(check: &mut Check<'_>) -> Result<(), StorageError> {
    let content = check.read(leader_epochs::FILE_NAME, leader_epochs::MAX_BYTES)?;
    let anew = "made anew from the log";
    let Some(content) = content else {
        // Before the first checkpoint the file need not be there.
        if check.leader_epochs.latest().is_some() && check.has(checkpoint::FILE_NAME) {
            check.harmless(leader_epochs::FILE_NAME, "it is missing", "the next start makes it anew", anew);
        }
        return Ok(());
    };
    match LeaderEpochs::decode(&content) {
        None => check.harmless(leader_epochs::FILE_NAME, "it does not parse", "the next start makes it anew", anew),
        Some(told) if !told.agrees_with(&check.leader_epochs, check.next_offset) => {
            let problem = "it does not say what the batches say";
            check.damage(leader_epochs::FILE_NAME, problem, "a client may be told a wrong end of a leader epoch", anew);
        }
        Some(_) => {}
    }
    Ok(())
}

fn topic_id(check: &mut Check<'_>) -> Result<(), StorageError> {
    let Some(content) = check.read(partition_metadata::FILE_NAME, partition_metadata::MAX_BYTES)? else {
        return Ok(());
    };
    if partition_metadata::parse(&content).is_none() {
        check.harmless(
            partition_metadata::FILE_NAME,
            "it does not parse",
            "the next start writes it anew: the metadata log knows the topic's id",
            "left to the next start",
        );
    }
    Ok(())
}
