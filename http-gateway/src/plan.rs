//! From queued entries to record batches: which events go together, in which order, under which sequences. Pure.

use bytes::Bytes;
use std::collections::BTreeMap;
use tifo_storage::record_batch::{BatchBuilder, Compression};

use crate::{
    buffer::Entry,
    partitioner::partition_of,
    producer::{Producer, next_sequence},
};

/// A batch is closed before it passes this, to stay below the default `max.message.bytes` (1,048,588) with its header.
pub const MAX_BATCH_BYTES: usize = 900_000;
/// What a record takes beside key and value, at most.
const RECORD_OVERHEAD_BYTES: usize = 40;
/// Batches that a log remembers of an idempotent producer (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`): a repetition
/// that had more in one partition would not be recognised.
const REMEMBERED_BATCHES: usize = 5;
/// The largest request of a numbering client: even if all of it goes to one partition, its batches are remembered.
pub const MAX_IDEMPOTENT_BYTES: usize = (REMEMBERED_BATCHES - 1) * MAX_BATCH_BYTES / 2;

/// One batch to append, and whose events it holds in the order of its offsets.
#[derive(Debug)]
pub struct PlannedBatch {
    pub bytes: Bytes,
    pub records: Vec<EventRef>,
}

/// The `event`th event of the `entry`th entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRef {
    pub entry: usize,
    pub event: usize,
}

/// The batches of each partition, in the order in which they must be appended.
pub fn plan(entries: &[Entry], partitions: i32) -> BTreeMap<i32, Vec<PlannedBatch>> {
    let mut open: BTreeMap<i32, Partition> = BTreeMap::new();
    for (entry_number, entry) in entries.iter().enumerate() {
        for (event_number, event) in entry.events.iter().enumerate() {
            let number = partition_of(event.hash, partitions);
            let partition = open.entry(number).or_default();
            let key = entry.keys.get(event.key.clone()).unwrap_or_default();
            let value = entry.body.get(event.value.clone()).unwrap_or_default();
            let place = EventRef { entry: entry_number, event: event_number };
            partition.make_room(key.len() + value.len(), place, entry.producer.as_ref(), number);
            partition.push(entry.received_ms, key, value, place);
        }
    }
    open.into_iter().map(|(number, partition)| (number, partition.finish())).collect()
}

#[derive(Default)]
struct Partition {
    done: Vec<PlannedBatch>,
    open: Option<OpenBatch>,
    /// Events of the numbering entry `0` that were placed here before.
    numbered: (usize, usize),
}

struct OpenBatch {
    builder: BatchBuilder,
    records: Vec<EventRef>,
    /// The numbering entry that alone is in it.
    numbering: Option<usize>,
}

impl Partition {
    /// Sees to it that a batch is open that the event may join: large enough, and of the same producer.
    fn make_room(&mut self, bytes: usize, place: EventRef, producer: Option<&Producer>, partition: i32) {
        let numbering = producer.map(|_| place.entry);
        let joins = self.open.as_ref().is_some_and(|open| {
            open.numbering == numbering && open.builder.size_bytes() + bytes + RECORD_OVERHEAD_BYTES <= MAX_BATCH_BYTES
        });
        if joins {
            return;
        }
        self.close();
        let mut builder = BatchBuilder::new(Compression::None);
        if let Some(producer) = producer {
            let before = if self.numbered.0 == place.entry { self.numbered.1 } else { 0 };
            builder.idempotent(producer.id, producer.epoch, next_sequence(producer.sequence(partition), before));
        }
        self.open = Some(OpenBatch { builder, records: Vec::new(), numbering });
    }

    fn push(&mut self, timestamp_ms: i64, key: &[u8], value: &[u8], place: EventRef) {
        if let Some(open) = &mut self.open {
            open.builder.push(timestamp_ms, Some(key), Some(value), &[]);
            open.records.push(place);
        }
        if self.numbered.0 != place.entry {
            self.numbered = (place.entry, 0);
        }
        self.numbered.1 += 1;
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.done.push(PlannedBatch { bytes: open.builder.build(), records: open.records });
        }
    }

    fn finish(mut self) -> Vec<PlannedBatch> {
        self.close();
        self.done
    }
}
