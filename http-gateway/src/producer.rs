//! Requests that may be repeated: a client that numbers its events as an idempotent producer (KIP-98).
//!
//! The client asks for a producer id once (`POST /v1/producers`). Then each committed request says how many of the
//! producer's events each partition has had before. That is all that is needed to build, from the same body, the same
//! batches with the same sequences; the log recognises those that it has. So a repetition appends exactly what is
//! missing, also when the process was killed between two partitions, and no state is kept here.

use axum::http::{HeaderMap, StatusCode};
use std::collections::BTreeMap;

use crate::problem::Problem;

pub const PRODUCER_ID_HEADER: &str = "tifo-producer-id";
pub const EPOCH_HEADER: &str = "tifo-producer-epoch";
/// `partition=sequence` of the request's first event there, comma-separated; a partition that is not named is at 0.
pub const SEQUENCES_HEADER: &str = "tifo-sequences";
/// Partitions named in one header.
const MAX_PARTITIONS: usize = 1000;

/// A client's numbering, for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
    /// Sequence of the request's first event for each partition.
    pub sequences: BTreeMap<i32, i32>,
}

/// The sequence `count` records later; it goes from `i32::MAX` to 0 (Kafka's `DefaultRecordBatch.incrementSequence`).
pub fn next_sequence(sequence: i32, count: usize) -> i32 {
    const CYCLE: i64 = 1 << 31;
    let count = i64::try_from(count).unwrap_or(0);
    i32::try_from((i64::from(sequence) + count).rem_euclid(CYCLE)).unwrap_or(0)
}

impl Producer {
    /// None: the request bears no producer id.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        if !headers.contains_key(PRODUCER_ID_HEADER) {
            return Ok(None);
        }
        let id = number(headers, PRODUCER_ID_HEADER)?;
        let epoch = number(headers, EPOCH_HEADER)?;
        let text = text(headers, SEQUENCES_HEADER)?;
        let sequences = sequences(text).ok_or_else(|| wrong(SEQUENCES_HEADER, "partition=sequence,…"))?;
        Ok(Some(Self { id, epoch, sequences }))
    }

    pub fn sequence(&self, partition: i32) -> i32 {
        self.sequences.get(&partition).copied().unwrap_or(0)
    }
}

fn text<'headers>(headers: &'headers HeaderMap, name: &'static str) -> Result<&'headers str, Problem> {
    match headers.get(name) {
        None => Ok(""),
        Some(value) => value.to_str().map_err(|_| wrong(name, "plain text")),
    }
}

fn number<T: TryFrom<i64>>(headers: &HeaderMap, name: &'static str) -> Result<T, Problem> {
    text(headers, name)?
        .parse::<i64>()
        .ok()
        .filter(|number| *number >= 0)
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| wrong(name, "a number that POST /v1/producers answered"))
}

fn sequences(text: &str) -> Option<BTreeMap<i32, i32>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let mut sequences = BTreeMap::new();
    for part in parts {
        let (partition, sequence) = part.split_once('=')?;
        let (partition, sequence) = (partition.trim().parse().ok()?, sequence.trim().parse().ok()?);
        if partition < 0 || sequence < 0 || sequences.insert(partition, sequence).is_some() {
            return None;
        }
        if sequences.len() > MAX_PARTITIONS {
            return None;
        }
    }
    Some(sequences)
}

fn wrong(header: &'static str, wanted: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-header", format!("header {header} must be {wanted}"))
        .with("field", header)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(values: &[(&'static str, &'static str)]) -> HeaderMap {
        values.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_numbering_is_read() {
        let sent = headers(&[(PRODUCER_ID_HEADER, "7"), (EPOCH_HEADER, "1"), (SEQUENCES_HEADER, "0=5, 3=2147483647")]);
        let producer = Producer::from_headers(&sent).unwrap().unwrap();
        assert_eq!((producer.id, producer.epoch), (7, 1));
        assert_eq!([0, 1, 3].map(|partition| producer.sequence(partition)), [5, 0, i32::MAX]);
        assert_eq!(Producer::from_headers(&HeaderMap::new()).unwrap(), None);
        let first = headers(&[(PRODUCER_ID_HEADER, "7"), (EPOCH_HEADER, "0")]);
        assert!(Producer::from_headers(&first).unwrap().unwrap().sequences.is_empty());
    }

    #[test]
    fn wrong_numbers_are_refused() {
        for (id, epoch, sequences) in [
            ("x", "0", ""),
            ("-1", "0", ""),
            ("1", "40000", ""),
            ("1", "", ""),
            ("1", "0", "1"),
            ("1", "0", "1=1,1=2"),
            ("1", "0", "0=-1"),
        ] {
            let sent = headers(&[(PRODUCER_ID_HEADER, id), (EPOCH_HEADER, epoch), (SEQUENCES_HEADER, sequences)]);
            assert!(Producer::from_headers(&sent).is_err(), "{id} {epoch} {sequences}");
        }
    }

    #[test]
    fn sequences_go_round() {
        assert_eq!(next_sequence(0, 3), 3);
        assert_eq!(next_sequence(i32::MAX, 1), 0);
        assert_eq!(next_sequence(i32::MAX - 1, 4), 2);
    }
}
