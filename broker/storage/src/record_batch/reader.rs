//! From bytes to batches, from batches to records.
//!
//! [`RecordBatch::for_each_record`] is the aggregator's way: borrowed slices, nothing allocated for an uncompressed
//! batch. [`RecordBatch::records`] gives owned records that share the batch's bytes.

use super::{
    BatchError, BatchHeader, Compression, HEADER_LENGTH, builder::write_nullable, header::CRC_START,
    varint::read_varint, varint::read_varlong,
};
use crate::compression;
use bytes::Bytes;

/// The least a record takes: length, attributes, two deltas, key length, value length, header count.
const MIN_RECORD_LENGTH: usize = 7;
/// The least a record header takes: key length and value length.
const MIN_HEADER_LENGTH: usize = 2;

/// One whole batch; cloning shares the bytes.
#[derive(Debug, Clone)]
pub struct RecordBatch {
    pub header: BatchHeader,
    pub bytes: Bytes,
}

/// One record, owned slices of the (decompressed) batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// One record, borrowed from the (decompressed) batch.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: HeadersRef<'a>,
}

/// A record's headers, decoded only when walked.
#[derive(Debug, Clone, Copy)]
pub struct HeadersRef<'a> {
    count: usize,
    bytes: &'a [u8],
}

/// The batches in `bytes`, one after the other; a cut-off last one (as fetch responses may end) ends the iteration.
/// Structure is checked, the CRC only by [`RecordBatch::check_crc`]. After an error nothing follows.
pub fn batches(bytes: Bytes) -> impl Iterator<Item = Result<RecordBatch, BatchError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.len() < HEADER_LENGTH {
            return None;
        }
        match BatchHeader::decode(&rest) {
            Ok(header) if header.size() > rest.len() => None,
            Ok(header) => Some(Ok(RecordBatch { header, bytes: rest.split_to(header.size()) })),
            Err(error) => {
                rest.clear();
                Some(Err(error))
            }
        }
    })
}

impl RecordBatch {
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c::crc32c(self.bytes.get(CRC_START..).unwrap_or_default());
        if computed == self.header.crc {
            return Ok(());
        }
        Err(BatchError::new(format!("CRC-32C is {computed:08x}, the header says {:08x}", self.header.crc)))
    }

    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::from_id(self.header.compression_id())
    }

    /// Transaction markers, not data.
    pub fn is_control(&self) -> bool {
        self.header.is_control()
    }

    /// The records; decompressing stops with an error at `max_decompressed_bytes`.
    pub fn records(&self, max_decompressed_bytes: usize) -> Result<Vec<Record>, BatchError> {
        let records = self.open(max_decompressed_bytes)?;
        let claimed = usize::try_from(self.header.record_count).unwrap_or(0);
        let mut out = Vec::with_capacity(claimed.min(records.payload.len() / MIN_RECORD_LENGTH));
        for record in records.iter() {
            out.push(records.own(&record?)?);
        }
        Ok(out)
    }

    /// Shows every record to `visit`, in order, without copying.
    pub fn for_each_record(
        &self,
        max_decompressed_bytes: usize,
        mut visit: impl FnMut(RecordRef<'_>),
    ) -> Result<(), BatchError> {
        for record in self.open(max_decompressed_bytes)?.iter() {
            visit(record?);
        }
        Ok(())
    }

    /// The record section, decompressed if need be, to be walked with [`Records::iter`].
    pub fn open(&self, max_decompressed_bytes: usize) -> Result<Records, BatchError> {
        let stored = self.bytes.slice(HEADER_LENGTH.min(self.bytes.len())..);
        let payload = match self.compression()? {
            Compression::None => stored,
            compression => Bytes::from(compression::decompress(compression, &stored, max_decompressed_bytes)?),
        };
        Ok(Records { header: self.header, payload })
    }
}

/// A batch's records, laid open.
#[derive(Debug, Clone)]
pub struct Records {
    header: BatchHeader,
    payload: Bytes,
}

impl Records {
    pub fn iter(&self) -> RecordsIter<'_> {
        RecordsIter {
            rest: &self.payload,
            remaining: self.header.record_count,
            base_offset: self.header.base_offset,
            last_offset_delta: self.header.last_offset_delta,
            base_timestamp: self.header.base_timestamp,
            append_time: self.header.is_log_append_time().then_some(self.header.max_timestamp),
        }
    }

    /// Every record with its bytes, its length in front.
    pub(crate) fn iter_raw(&self) -> impl Iterator<Item = Result<(&[u8], RecordRef<'_>), BatchError>> {
        let mut records = self.iter();
        std::iter::from_fn(move || {
            let before = records.rest;
            let record = records.next()?;
            let raw = before.get(..before.len() - records.rest.len()).unwrap_or_default();
            Some(record.map(|record| (raw, record)))
        })
    }

    /// An owned record that shares this payload; `record` comes from [`Records::iter`] of the same value.
    pub fn own(&self, record: &RecordRef<'_>) -> Result<Record, BatchError> {
        let share = |bytes: &[u8]| self.payload.slice_ref(bytes);
        let mut headers = Vec::with_capacity(record.headers.len());
        for header in record.headers.iter() {
            let (key, value) = header?;
            headers.push((share(key), value.map(share)));
        }
        Ok(Record {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(share),
            value: record.value.map(share),
            headers,
        })
    }
}

/// Walks the records of one batch; after an error nothing follows.
#[derive(Debug)]
pub struct RecordsIter<'a> {
    rest: &'a [u8],
    remaining: i32,
    base_offset: i64,
    last_offset_delta: i32,
    base_timestamp: i64,
    append_time: Option<i64>,
}

impl<'a> Iterator for RecordsIter<'a> {
    type Item = Result<RecordRef<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return self.leftover();
        }
        match self.decode_next() {
            Some(record) => {
                self.remaining -= 1;
                Some(Ok(record))
            }
            None => Some(Err(self.malformed())),
        }
    }
}

impl<'a> RecordsIter<'a> {
    #[inline]
    fn decode_next(&mut self) -> Option<RecordRef<'a>> {
        let length = usize::try_from(read_varint(&mut self.rest)?).ok()?;
        let (mut body, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        let (_attributes, fields) = body.split_first()?;
        body = fields;
        let timestamp_delta = read_varlong(&mut body)?;
        let offset_delta = read_varint(&mut body)?;
        if offset_delta < 0 || offset_delta > self.last_offset_delta {
            return None;
        }
        let key = read_nullable(&mut body)?;
        let value = read_nullable(&mut body)?;
        let count = usize::try_from(read_varint(&mut body)?).ok()?;
        if count > body.len() / MIN_HEADER_LENGTH || (count == 0 && !body.is_empty()) {
            return None;
        }
        Some(RecordRef {
            offset: self.base_offset + i64::from(offset_delta),
            timestamp_ms: self.append_time.unwrap_or(self.base_timestamp.saturating_add(timestamp_delta)),
            key,
            value,
            headers: HeadersRef { count, bytes: body },
        })
    }

    #[cold]
    fn malformed(&mut self) -> BatchError {
        let error = BatchError::new(format!(
            "malformed record in the batch at offset {}, {} records before its end",
            self.base_offset, self.remaining
        ));
        self.remaining = 0;
        self.rest = &[];
        error
    }

    #[inline]
    fn leftover(&mut self) -> Option<Result<RecordRef<'a>, BatchError>> {
        if self.rest.is_empty() {
            return None;
        }
        let error = BatchError::new(format!("{} bytes behind the last record", self.rest.len()));
        self.rest = &[];
        Some(Err(error))
    }
}

impl<'a> HeadersRef<'a> {
    /// Headers of a record that does not lie in a batch; `out` is cleared and lends the bytes.
    pub fn encode<'h>(
        headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)>,
        out: &'a mut Vec<u8>,
    ) -> HeadersRef<'a> {
        out.clear();
        let mut count = 0;
        for (key, value) in headers {
            write_nullable(out, Some(key));
            write_nullable(out, value);
            count += 1;
        }
        Self { count, bytes: out }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Key and value of each header; after an error nothing follows.
    pub fn iter(&self) -> impl Iterator<Item = Result<(&'a [u8], Option<&'a [u8]>), BatchError>> + use<'a> {
        let mut rest = self.bytes;
        let mut remaining = self.count;
        std::iter::from_fn(move || {
            remaining = remaining.checked_sub(1)?;
            let header = read_header(&mut rest);
            if header.is_none() || (remaining == 0 && !rest.is_empty()) {
                remaining = 0;
                return Some(Err(BatchError::new("malformed record header")));
            }
            header.map(Ok)
        })
    }
}

fn read_header<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let key = read_nullable(rest)??;
    Some((key, read_nullable(rest)?))
}

/// Length and bytes; -1 is null. The outer None means malformed.
#[inline]
fn read_nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = read_varint(rest)?;
    if length == -1 {
        return Some(None);
    }
    let (bytes, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(Some(bytes))
}
