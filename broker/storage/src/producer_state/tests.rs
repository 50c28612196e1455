//! KIP-98's rules, the wrap of sequences, snapshots.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::record_batch::BatchBuilder;

fn header(producer: (i64, i16, i32), records: i32, base_offset: i64) -> BatchHeader {
    let mut builder = BatchBuilder::default();
    builder.idempotent(producer.0, producer.1, producer.2);
    for _ in 0..records {
        builder.push(1, None, None, &[]);
    }
    BatchHeader { base_offset, ..BatchHeader::decode(&builder.build()).unwrap() }
}

fn check(states: &ProducerStates, producer: (i64, i16, i32), records: i32) -> Result<Option<i64>, AppendError> {
    let found = states.check(&header(producer, records, 0), None, Origin::Client)?;
    Ok(found.map(|batch| batch.base_offset()))
}

#[test]
fn the_last_five_batches_are_recognised() {
    let mut states = ProducerStates::default();
    for round in 0..7 {
        states.record(&header((1, 0, round * 3), 3, 100 + i64::from(round) * 3), None, 0);
    }
    for round in 2..7 {
        assert_eq!(check(&states, (1, 0, round * 3), 3).unwrap(), Some(100 + i64::from(round) * 3));
    }
    assert_eq!(check(&states, (1, 0, 21), 3).unwrap(), None);
    for (first, records) in [(3, 3), (22, 1), (18, 2), (15, 6)] {
        let refused = check(&states, (1, 0, first), records).unwrap_err();
        assert!(matches!(refused, AppendError::OutOfOrderSequence { expected: 21, .. }));
    }
}

#[test]
fn an_unknown_producer_may_begin_anywhere() {
    assert_eq!(check(&ProducerStates::default(), (1, 5, 17), 3).unwrap(), None);
}

#[test]
fn a_new_epoch_begins_at_zero_and_fences_the_old() {
    let mut states = ProducerStates::default();
    states.record(&header((1, 3, 0), 2, 0), None, 0);
    assert!(matches!(check(&states, (1, 4, 2), 1), Err(AppendError::OutOfOrderSequence { expected: 0, .. })));
    assert!(matches!(check(&states, (1, 2, 2), 1), Err(AppendError::InvalidProducerEpoch { current: 3, got: 2, .. })));
    assert_eq!(check(&states, (1, 4, 0), 1).unwrap(), None);
    states.record(&header((1, 4, 0), 1, 2), None, 0);
    assert!(matches!(check(&states, (1, 3, 2), 1), Err(AppendError::InvalidProducerEpoch { current: 4, got: 3, .. })));
    assert_eq!(check(&states, (1, 4, 0), 1).unwrap(), Some(2));
}

#[test]
fn sequences_wrap_to_zero() {
    assert_eq!(sequence_add(i32::MAX, 1), 0);
    assert_eq!(sequence_add(0, -1), i32::MAX);
    let mut states = ProducerStates::default();
    let across = (1, 0, i32::MAX - 1);
    states.record(&header(across, 4, 50), None, 0);
    assert_eq!(check(&states, across, 4).unwrap(), Some(50));
    assert_eq!(check(&states, (1, 0, 2), 1).unwrap(), None);
    assert!(check(&states, (1, 0, 1), 1).is_err());
}

#[test]
fn the_silent_are_forgotten() {
    let mut states = ProducerStates::default();
    states.record(&header((1, 0, 0), 1, 0), None, 1000);
    states.record(&header((2, 0, 0), 1, 1), None, 1500);
    states.expire(2000, 1000);
    assert_eq!(states.len(), 1);
    assert_eq!(check(&states, (1, 0, 9), 1).unwrap(), None);
}

#[test]
fn snapshots_give_back_what_they_took() {
    let mut states = ProducerStates::default();
    for round in 0..9 {
        states.record(&header((i64::from(round % 2), 2, round), 1, i64::from(round)), None, 77);
    }
    let file = states.encode();
    assert_eq!(ProducerStates::decode(&file, 77).unwrap(), states);
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 16;
        assert!(ProducerStates::decode(&damaged, 77).is_err());
        assert!(ProducerStates::decode(&file[..at], 77).is_err());
    }
}

/// Apache Kafka's dump-log prints this entry as: producerId: 7 producerEpoch: 1 lastSequence: 5 lastOffset: 11 offsetDelta: 1.
#[test]
fn golden_bytes() {
    let mut states = ProducerStates::default();
    states.record(&BatchHeader { max_timestamp: 1000, ..header((7, 1, 4), 2, 10) }, None, 0);
    let hex: String = states.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    let entry = "0000000000000007000100000005000000000000000b0000000100000000000003e8ffffffffffffffffffffffff";
    let crc = crc32c::crc32c(&states.encode()[6..]);
    assert_eq!(hex, format!("0001{crc:08x}00000001{entry}"));
}
