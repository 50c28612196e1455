//! Round trips through every codec, caps, malformed input, golden bytes.
#![allow(clippy::unwrap_used)]

use super::*;
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
const CAP: usize = 1 << 20;

type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;
type Sent = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Headers);

fn record() -> impl Strategy<Value = Sent> {
    let bytes = |most: usize| vec(any::<u8>(), 0..most);
    (0..i64::MAX / 2, option::of(bytes(20)), option::of(bytes(300)), vec((bytes(8), option::of(bytes(8))), 0..3))
}

fn build(compression: Compression, records: &[Sent]) -> Bytes {
    let mut builder = BatchBuilder::new(compression);
    for (timestamp, key, value, headers) in records {
        let headers: Vec<_> = headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
        builder.push(*timestamp, key.as_deref(), value.as_deref(), &headers);
    }
    builder.build()
}

fn only(bytes: &Bytes) -> RecordBatch {
    let mut all: Vec<_> = batches(bytes.clone()).collect::<Result<_, _>>().unwrap();
    assert_eq!(all.len(), 1);
    all.pop().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_built_is_read(records in vec(record(), 1..40)) {
        for compression in CODECS {
            let batch = only(&build(compression, &records));
            batch.check_crc().unwrap();
            prop_assert_eq!(batch.compression().unwrap(), compression);
            let read = batch.records(CAP).unwrap();
            prop_assert_eq!(read.len(), records.len());
            for (at, (record, sent)) in read.iter().zip(&records).enumerate() {
                prop_assert_eq!(record.offset, at as i64);
                prop_assert_eq!(record.timestamp_ms, sent.0);
                prop_assert_eq!(record.key.as_deref(), sent.1.as_deref());
                prop_assert_eq!(record.value.as_deref(), sent.2.as_deref());
                let headers: Headers =
                    record.headers.iter().map(|(key, value)| (key.to_vec(), value.as_ref().map(|value| value.to_vec()))).collect();
                prop_assert_eq!(&headers, &sent.3);
            }
            let max = records.iter().map(|record| record.0).max().unwrap();
            prop_assert_eq!(batch.header.max_timestamp, max);
        }
    }

    /// No bytes make the reader panic, nor give out more than the cap.
    #[test]
    fn garbage_is_an_error(compression in 0i16..8, records in vec(any::<u8>(), 0..400), count in any::<i32>()) {
        let header = BatchHeader { record_count: count, attributes: compression, ..only(&build(Compression::None, &[(0, None, None, vec![])])).header };
        let batch = RecordBatch { header, bytes: [&header.encode()[..], &records].concat().into() };
        if let Ok(records) = batch.records(1000) {
            let total: usize = records.iter().map(|record| record.value.as_ref().map_or(0, Bytes::len)).sum();
            prop_assert!(total <= 1000);
        }
    }

    #[test]
    fn a_changed_byte_is_an_error_or_harmless(records in vec(record(), 1..10), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        for compression in CODECS {
            let good = build(compression, &records);
            let mut bad = good.to_vec();
            let at = 61 + at.index(good.len() - 61);
            bad[at] ^= 1 << bit;
            for batch in batches(bad.into()).flatten() {
                prop_assert!(batch.check_crc().is_err());
                let _ = batch.records(CAP);
            }
        }
    }
}

#[test]
fn decompression_stops_at_the_cap() {
    let zeros = vec![0u8; 300_000];
    for compression in CODECS.into_iter().skip(1) {
        let batch = only(&build(compression, &[(1, None, Some(zeros.clone()), vec![])]));
        assert!(batch.bytes.len() < 50_000);
        let plain = batch.open(CAP).unwrap().iter().map(|record| record.unwrap().value.unwrap().len()).sum::<usize>();
        assert_eq!(plain, zeros.len());
        for cap in [0, 1, 1000, 65_536, 300_000] {
            let error = batch.records(cap).unwrap_err();
            assert!(error.0.contains(&format!("more than {cap} bytes")) || cap < 1024, "{compression:?}: {error}");
        }
        assert!(batch.records(300_000 + 20).is_ok(), "{compression:?}");
    }
}

#[test]
fn bare_snappy_is_read_too() {
    let plain = only(&build(Compression::None, &[(5, None, Some(b"value".to_vec()), vec![])]));
    let bare = snap::raw::Encoder::new().compress_vec(&plain.bytes[61..]).unwrap();
    let header = BatchHeader { attributes: 2, ..plain.header };
    let batch = RecordBatch { header, bytes: [&header.encode()[..], &bare].concat().into() };
    assert_eq!(batch.records(CAP).unwrap(), plain.records(CAP).unwrap());
    assert!(batch.records(5).is_err());
}

#[test]
fn a_snappy_block_that_claims_too_much_is_not_allocated_for() {
    let claim = [&[0xff, 0xff, 0xff, 0x7f][..], &[0; 20]].concat();
    let header = BatchHeader { attributes: 2, ..only(&build(Compression::None, &[(0, None, None, vec![])])).header };
    let batch = RecordBatch { header, bytes: [&header.encode()[..], &claim].concat().into() };
    assert!(batch.records(1 << 30).is_err());
}

#[test]
fn a_cut_off_last_batch_ends_the_iteration() {
    let one = build(Compression::None, &[(1, None, None, vec![])]);
    let two = Bytes::from([&one[..], &one[..]].concat());
    assert_eq!(batches(two.clone()).count(), 2);
    for cut in one.len()..two.len() {
        assert_eq!(batches(two.slice(..cut)).map(Result::unwrap).count(), 1);
    }
    let mut bad = two.to_vec();
    bad[16] = 0;
    let read: Vec<_> = batches(bad.into()).collect();
    assert!(read.len() == 1 && read[0].is_err());
}

#[test]
fn an_empty_builder_builds_nothing() {
    assert!(BatchBuilder::default().is_empty());
    assert!(BatchBuilder::default().build().is_empty());
}

/// Two records as Apache Kafka 4.3.1's console producer and dump-log know them; docs/data-format.md walks through these bytes.
#[test]
fn golden_bytes() {
    let mut builder = BatchBuilder::default();
    builder.idempotent(9, 1, 3);
    builder.push(1000, Some(b"k"), Some(b"v"), &[(b"h", None)]);
    builder.push(1001, None, None, &[]);
    assert_eq!(builder.size_bytes(), 61 + 12 + 7);
    let expected = concat!(
        "0000000000000000",         // base offset
        "00000044",                 // length of what follows
        "ffffffff",                 // leader epoch, not yet known
        "02",                       // format
        "6f3f357f",                 // CRC-32C of the rest
        "0000",                     // attributes
        "00000001",                 // last offset delta
        "00000000000003e8",         // base timestamp
        "00000000000003e9",         // max timestamp
        "0000000000000009",         // producer id
        "0001",                     // producer epoch
        "00000003",                 // base sequence
        "00000002",                 // records
        "16000000026b027602026801", // 11 bytes: attributes, deltas 0 and 0, "k", "v", one header "h": null
        "0c000202010100",           // 6 bytes: attributes, deltas 1 and 1, null, null, no headers
    );
    let built = builder.build();
    let hex: String = built.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected);
}
