//! Batches that are wrong in one place; the same cases as protocol-tests/tests/test_append_validation.py, where Kafka judges.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    log::{RecordProblem, StoredCompression},
    record_batch::{BatchBuilder, batches, varint::write_varint},
    testing::{CAP, NOW_MS, batch},
};
use bytes::BytesMut;
use proptest::prelude::*;

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn config(compression: StoredCompression) -> LogConfig {
    LogConfig { compression, ..LogConfig::default() }
}

fn check(bytes: &Bytes, config: &LogConfig) -> Result<Accepted, AppendError> {
    validate(bytes, Origin::Client, config, NOW_MS).map(|mut accepted| accepted.pop().unwrap())
}

/// What would be written.
fn stored(accepted: &Accepted) -> RecordBatch {
    let bytes = match accepted.is_header_new {
        true => [&accepted.header.encode()[..], &accepted.bytes[HEADER_LENGTH..]].concat().into(),
        false => accepted.bytes.clone(),
    };
    let mut stored = batches(bytes);
    let stored = stored.next().unwrap().unwrap();
    stored.check_crc().unwrap();
    stored
}

/// A batch around these record bytes, its CRC right.
fn around(codec: Compression, plain: &[u8], alter: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let payload = compression::compress(codec, None, plain).unwrap().unwrap_or_else(|| plain.to_vec());
    let header = BatchHeader::decode(&batch(Compression::None, &[NOW_MS])).unwrap();
    let (mut header, bytes) = header.with_payload(codec, &payload);
    alter(&mut header);
    header.crc = header.crc_over(&payload);
    let mut out = BytesMut::from(&bytes[..]);
    out[..HEADER_LENGTH].copy_from_slice(&header.encode());
    out.freeze()
}

fn record(fields: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_varint(&mut out, i32::try_from(fields.len()).unwrap());
    [out, fields.to_vec()].concat()
}

#[test]
fn records_are_what_the_header_says() {
    // attributes, timestamp delta, offset delta, key "k", value "v", no headers
    let whole = record(&[0, 0, 0, 2, b'k', 2, b'v', 0]);
    let header_null_key = record(&[0, 0, 0, 2, b'k', 2, b'v', 2, 1, 2, b'x']);
    let wrong: Vec<(&str, Vec<u8>, i32)> = vec![
        ("one is missing", whole.clone(), 2),
        ("one too many", [whole.clone(), record(&[0, 0, 2, 2, b'k', 2, b'v', 0])].concat(), 1),
        ("bytes behind", [whole.clone(), vec![0, 0, 0]].concat(), 1),
        ("a gap", [whole.clone(), record(&[0, 0, 4, 2, b'k', 2, b'v', 0])].concat(), 2),
        ("the same twice", [whole.clone(), whole.clone()].concat(), 2),
        ("offset delta 1", record(&[0, 0, 2, 2, b'k', 2, b'v', 0]), 1),
        ("offset delta -1", record(&[0, 0, 1, 2, b'k', 2, b'v', 0]), 1),
        ("a record too short", record(&[0, 0, 0, 2, b'k', 2, b'v']), 1),
        ("a record too long", record(&[0, 0, 0, 2, b'k', 2, b'v', 0, 0]), 1),
        ("length -1", vec![1], 1),
        ("length beyond the end", vec![60, 0, 0], 1),
        ("key length -2", record(&[0, 0, 0, 3, 2, b'v', 0]), 1),
        ("value beyond the end", record(&[0, 0, 0, 2, b'k', 60, b'v', 0]), 1),
        ("header count -1", record(&[0, 0, 0, 2, b'k', 2, b'v', 1]), 1),
        ("header that is not there", record(&[0, 0, 0, 2, b'k', 2, b'v', 2]), 1),
        ("header without a name", header_null_key, 1),
        ("nothing at all", vec![], 1),
    ];
    for codec in CODECS {
        let set = |count: i32| {
            move |header: &mut BatchHeader| (header.record_count, header.last_offset_delta) = (count, count - 1)
        };
        check(&around(codec, &whole, set(1)), &LogConfig::default()).unwrap();
        for (name, plain, count) in &wrong {
            let refused = check(&around(codec, plain, set(*count)), &LogConfig::default());
            assert!(matches!(refused, Err(AppendError::InvalidRecord(_))), "{name}, {codec:?}: {refused:?}");
        }
        if codec != Compression::None {
            let good = batch(codec, &[NOW_MS; 20]);
            let cut = around(Compression::None, &good[HEADER_LENGTH..good.len() - 9], |header| {
                (header.attributes, header.record_count, header.last_offset_delta) = (codec.id(), 20, 19);
            });
            assert!(matches!(check(&cut, &LogConfig::default()), Err(AppendError::InvalidRecord(_))), "{codec:?}");
        }
    }
}

#[test]
fn each_record_at_fault_is_named() {
    let config = LogConfig { compacted: true, timestamp_before_max_ms: 1000, ..LogConfig::default() };
    for codec in CODECS {
        let mut builder = BatchBuilder::new(codec);
        builder.push(NOW_MS, Some(b"k"), None, &[]);
        builder.push(NOW_MS, None, Some(b"v"), &[]);
        builder.push(NOW_MS - 1001, Some(b"k"), Some(b"v"), &[]);
        builder.push(-1, Some(b"k"), Some(b"v"), &[]);
        let Err(AppendError::InvalidRecords { count, is_about_time, first }) = check(&builder.build(), &config) else {
            panic!("{codec:?}")
        };
        let (least, most) = (NOW_MS - 1000, NOW_MS + 3_600_000);
        let late = RecordProblem::Timestamp { timestamp_ms: NOW_MS - 1001, offset: 2, least, most };
        let named: Vec<_> = first.iter().map(|error| (error.index, error.problem)).collect();
        assert_eq!((count, is_about_time, named), (2, true, vec![(1, RecordProblem::NoKey), (2, late)]));
    }
}

#[test]
fn an_answer_names_a_bounded_number_of_records() {
    let config = LogConfig { compacted: true, ..LogConfig::default() };
    let mut builder = BatchBuilder::new(Compression::Zstd);
    for _ in 0..50_000 {
        builder.push(NOW_MS, None, None, &[]);
    }
    let Err(AppendError::InvalidRecords { count, first, .. }) = check(&builder.build(), &config) else { panic!() };
    assert_eq!((count, first.len()), (50_000, 1000));
}

#[test]
fn the_highest_timestamp_is_the_records_own() {
    for codec in CODECS {
        for wrong in [NOW_MS - 5, NOW_MS + 5, i64::MAX, -1] {
            let good = batch(codec, &[NOW_MS - 7, NOW_MS, NOW_MS - 3]);
            let mut bytes = BytesMut::from(&good[..]);
            let mut header = BatchHeader::decode(&good).unwrap().with_timestamps(false, wrong);
            header.crc = header.crc_over(&good[HEADER_LENGTH..]);
            bytes[..HEADER_LENGTH].copy_from_slice(&header.encode());
            let accepted = check(&bytes.freeze(), &LogConfig::default()).unwrap();
            assert_eq!(stored(&accepted).bytes, good);
        }
    }
}

#[test]
fn a_stamp_is_the_brokers_to_give() {
    let stamped = |base| {
        around(Compression::None, &record(&[0, 0, 0, 1, 1, 0]), |header| {
            *header = BatchHeader { base_timestamp: base, ..header.with_timestamps(true, base) };
        })
    };
    // Kafka takes the claim off where the records' time is in force, and stores the batch.
    let accepted = check(&stamped(NOW_MS), &LogConfig::default()).unwrap();
    assert!(!stored(&accepted).header.is_log_append_time());
    assert!(check(&stamped(-1), &LogConfig::default()).is_err());
    let append_time = LogConfig { log_append_time: true, ..LogConfig::default() };
    let refused = check(&stamped(NOW_MS), &append_time).unwrap_err();
    assert!(matches!(refused, AppendError::InvalidRecords { is_about_time: true, .. }));
    let accepted = check(&batch(Compression::Lz4, &[5, 6]), &append_time).unwrap();
    let stored = stored(&accepted);
    assert!(stored.header.is_log_append_time());
    assert_eq!((stored.header.max_timestamp, stored.header.base_timestamp), (NOW_MS, 5));
}

#[test]
fn sizes_hold_before_and_after_recompression() {
    let small = LogConfig { max_message_bytes: 2000, ..LogConfig::default() };
    let plain = batch(Compression::None, &[NOW_MS; 200]);
    let packed = batch(Compression::Zstd, &[NOW_MS; 200]);
    assert!(packed.len() < 2000 && plain.len() > 2000);
    assert!(matches!(check(&plain, &small), Err(AppendError::TooLarge { .. })));
    let unpacking = LogConfig { compression: StoredCompression::Codec(Compression::None, None), ..small.clone() };
    assert!(matches!(check(&packed, &unpacking), Err(AppendError::TooLarge { limit: 2000, .. })));
    let segments = LogConfig { segment_bytes: 2000, ..LogConfig::default() };
    assert!(matches!(check(&plain, &segments), Err(AppendError::OverSegment { limit: 2000, .. })));
    assert!(check(&packed, &small).is_ok());
}

#[test]
fn decompression_stops_at_the_cap() {
    let capped = LogConfig { max_decompressed_message_bytes: 100_000, ..LogConfig::default() };
    let zeros = vec![0; 100_000_000];
    for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
        let bomb = around(codec, &zeros, |_| {});
        let limits = LogConfig { max_message_bytes: u32::MAX, ..capped.clone() };
        let Err(AppendError::InvalidRecord(reason)) = check(&bomb, &limits) else { panic!("{codec:?}") };
        assert!(reason.contains("more than 100000"), "{codec:?}: {reason}");
    }
    let claim = around(Compression::None, &[0xff, 0xff, 0xff, 0xff, 0x07, 0], |header| header.attributes = 2);
    assert!(matches!(check(&claim, &LogConfig::default()), Err(AppendError::InvalidRecord(_))));
}

#[test]
fn control_batches_are_the_coordinators() {
    let marker = EndTransactionMarker { result: crate::record_batch::TransactionResult::Commit, coordinator_epoch: 9 };
    let bytes = marker.batch(5, 1, NOW_MS);
    for origin in [Origin::Client, Origin::Internal] {
        assert!(matches!(validate(&bytes, origin, &LogConfig::default(), NOW_MS), Err(AppendError::InvalidRecord(_))));
    }
    for compression in [StoredCompression::Producer, StoredCompression::Codec(Compression::Zstd, None)] {
        let accepted = validate(&bytes, Origin::Coordinator, &config(compression), NOW_MS).unwrap().pop().unwrap();
        assert_eq!(accepted.marker, Some(marker));
        assert_eq!(stored(&accepted).bytes, bytes);
    }
    let garbage =
        around(Compression::None, &record(&[0, 0, 0, 2, b'k', 2, b'v', 0]), |header| header.attributes = 0x30);
    assert!(validate(&garbage, Origin::Coordinator, &LogConfig::default(), NOW_MS).is_err());
}

fn codec() -> impl Strategy<Value = Compression> {
    proptest::sample::select(CODECS.to_vec())
}

type Fields = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn fields() -> impl Strategy<Value = Fields> {
    use proptest::{collection::vec, option::of};
    let bytes = || vec(any::<u8>(), 0..40);
    (-50_000i64..50_000, of(bytes()), of(bytes()), vec((bytes(), of(bytes())), 0..3))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever codec comes and whatever is wanted: the records are the same, the header is right, the producer's fields stay.
    #[test]
    fn recompression_keeps_the_records(from in codec(), to in codec(), level in -1i32..10, records in proptest::collection::vec(fields(), 1..40), append_time: bool) {
        let mut builder = BatchBuilder::new(from);
        builder.idempotent(77, 3, 12);
        for (at, key, value, headers) in &records {
            let headers: Vec<(&[u8], Option<&[u8]>)> = headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
            builder.push(NOW_MS + at, key.as_deref(), value.as_deref(), &headers);
        }
        let sent = builder.build();
        let before = batches(sent.clone()).next().unwrap().unwrap();
        let config = LogConfig { log_append_time: append_time, ..config(StoredCompression::Codec(to, Some(level))) };
        let after = stored(&check(&sent, &config).unwrap());
        prop_assert_eq!(after.compression().unwrap(), to);
        prop_assert_eq!((after.header.producer_id, after.header.producer_epoch, after.header.base_sequence), (77, 3, 12));
        prop_assert_eq!(after.header.last_offset_delta, before.header.last_offset_delta);
        let expected = before.records(CAP).unwrap().into_iter().map(|mut record| {
            if append_time { record.timestamp_ms = NOW_MS; }
            record
        });
        prop_assert_eq!(after.records(CAP).unwrap(), expected.collect::<Vec<_>>());
        if from == to && !append_time { prop_assert_eq!(after.bytes, sent); }
    }

    /// Whatever bytes a batch holds, the answer is a refusal or a batch that reads well; never a panic.
    #[test]
    fn anything_is_refused_or_readable(codec_id in 0i16..8, garbage in proptest::collection::vec(any::<u8>(), 0..300), count in 0i32..5) {
        let bytes = around(Compression::None, &garbage, |header| {
            (header.attributes, header.record_count, header.last_offset_delta) = (codec_id, count, (count - 1).max(0));
        });
        let limits = LogConfig { max_decompressed_message_bytes: 1 << 20, ..LogConfig::default() };
        if let Ok(accepted) = check(&bytes, &limits) {
            prop_assert!(stored(&accepted).records(1 << 20).is_ok());
        }
    }

    /// A flipped byte under a CRC that was made right again: the same.
    #[test]
    fn altered_records_are_refused_or_readable(codec in codec(), at in 0usize..400, flip in 1u8..) {
        let good = batch(codec, &[NOW_MS; 9]);
        let mut altered = BytesMut::from(&good[..]);
        let at = HEADER_LENGTH + at % (good.len() - HEADER_LENGTH);
        altered[at] ^= flip;
        let mut header = BatchHeader::decode(&good).unwrap();
        header.crc = header.crc_over(&altered[HEADER_LENGTH..]);
        altered[..HEADER_LENGTH].copy_from_slice(&header.encode());
        if let Ok(accepted) = check(&altered.freeze(), &LogConfig::default()) {
            prop_assert!(stored(&accepted).records(CAP).is_ok());
        }
    }
}
