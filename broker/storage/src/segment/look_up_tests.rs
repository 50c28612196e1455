//! Every look-up in a segment finds the batch that a walk over all its headers finds: with gaps of any size between offsets, as
//! compaction leaves them, with indexes in memory, read from their files, and damaged ones.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    file_system::RealFileSystem,
    record_batch::{BatchBuilder, Compression},
    testing::temporary_dir,
};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::path::Path;

const BASE_OFFSET: i64 = 1000;

/// A batch: offsets that are missing before it, its records' timestamps, bytes of each value.
type Shape = (i64, Vec<i64>, usize);

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let gap = prop_oneof![3 => Just(0i64), 1 => 1i64..100];
    vec((gap, vec(0i64..2000, 1..6), 0usize..200), 1..120)
}

fn filled(dir: &Path, interval: u32, shapes: &[Shape]) -> Segment {
    let files =
        SegmentFiles { file_system: Arc::new(RealFileSystem), dir: dir.into(), base_offset: BASE_OFFSET, suffix: "" };
    let (mut segment, mut next_offset) = (Segment::create(files, interval).unwrap(), BASE_OFFSET);
    for (gap, timestamps, value_bytes) in shapes {
        let mut builder = BatchBuilder::new(Compression::None);
        for timestamp in timestamps {
            builder.push(*timestamp, None, Some(&vec![b'v'; *value_bytes]), &[]);
        }
        let bytes = builder.build();
        let header = BatchHeader { base_offset: next_offset + gap, ..BatchHeader::decode(&bytes).unwrap() };
        let placed = [&header.encode()[..], &bytes[crate::record_batch::HEADER_LENGTH..]].concat();
        segment.append(&mut [IoSlice::new(&placed)], &[header]).unwrap();
        next_offset = header.last_offset() + 1;
    }
    segment
}

fn check(segment: &Segment, all: &[Located], asked: &[Index]) -> Result<(), TestCaseError> {
    let place = |found: Option<Located>| found.map(|found| (found.position, found.header.base_offset));
    let end = all.last().map_or(BASE_OFFSET, |last| last.header.last_offset());
    for offset in BASE_OFFSET - 2..end + 3 {
        let expected = all.iter().find(|batch| batch.header.last_offset() >= offset).copied();
        prop_assert_eq!(place(segment.find(offset).unwrap()), place(expected), "offset {}", offset);
    }
    for pair in asked.chunks(2) {
        let start = all[pair[0].index(all.len())].position;
        let limit = start + pair[1].index(3000) as u64;
        let expected = all.iter().rev().find(|batch| batch.position > start && batch.position <= limit).copied();
        prop_assert_eq!(place(segment.boundary_before(start, limit).unwrap()), place(expected), "{}..{}", start, limit);
    }
    for timestamp in (0..2010).step_by(67) {
        let reaches = |batch: &Located| batch.header.max_timestamp >= timestamp;
        let found = segment.walk_from_timestamp(timestamp).unwrap().map(Result::unwrap).find(reaches);
        prop_assert_eq!(place(found), place(all.iter().find(|batch| reaches(batch)).copied()), "time {}", timestamp);
    }
    let highest = all.iter().map(|batch| batch.header.max_timestamp).max();
    prop_assert_eq!(segment.max_timestamp().unwrap().map(|max| max.timestamp_ms), highest);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn look_ups(shapes in shapes(), interval in 0u32..2000, asked in vec(any::<Index>(), 60), damage: Index, bit in 0u32..8) {
        let dir = temporary_dir();
        let mut segment = filled(dir.path(), interval, &shapes);
        let all: Vec<Located> = segment.walk(0).map(Result::unwrap).collect();
        prop_assert_eq!(all.len(), shapes.len());
        check(&segment, &all, &asked)?;
        segment.seal().unwrap();
        let reopened = || Segment::sealed(segment.files().clone(), interval).unwrap();
        check(&reopened(), &all, &asked)?;
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            let path = segment.files().path(kind);
            let whole = std::fs::read(&path).unwrap();
            if !whole.is_empty() {
                let mut altered = whole.clone();
                altered[damage.index(whole.len())] ^= 1 << bit;
                std::fs::write(&path, altered).unwrap();
                check(&reopened(), &all, &asked)?;
                std::fs::write(&path, &whole[..damage.index(whole.len())]).unwrap();
                check(&reopened(), &all, &asked)?;
            }
        }
    }
}
