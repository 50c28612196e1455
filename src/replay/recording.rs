//! The recorded events: JSON lines, plain or gzip; finding the time in each and making it current.

use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};
use tifo_http_gateway::{format_iso_8601, parse_iso_8601};
use tokio::sync::mpsc;

/// Longer lines are no events.
const MAX_LINE_BYTES: u64 = 1 << 20;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// One recorded event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    pub timestamp_ms: i64,
    /// From 1.
    pub round: u64,
}

/// What makes an event current.
#[derive(Debug, Clone, Copy)]
pub struct Rewrite {
    pub timestamp_ms: i64,
}

/// A look through the whole file before anything is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overview {
    pub events: u64,
}

/// The two fields that matter here, as they stand in the text.
#[derive(Deserialize)]
struct Fields<'text> {
    #[serde(borrow)]
    timestamp: &'text RawValue,
    #[serde(borrow, default)]
    message_id: Option<&'text RawValue>,
}

/// Counts the events; the first line that is none is an error.
pub fn survey(path: &Path) -> anyhow::Result<Overview> {
    let mut events = 0;
    each_line(path, |text| {
        timestamp_of(&text)?;
        events += 1;
        Ok(true)
    })?;
    match events {
        0 => bail!("{} holds no events", path.display()),
        events => Ok(Overview { events }),
    }
}

/// Sends every event on, again and again if `endless`. Ends when nobody takes them any more.
pub fn read(path: &Path, endless: bool, to: &mpsc::Sender<Line>) -> anyhow::Result<()> {
    for round in 1.. {
        each_line(path, |text| {
            let timestamp_ms = timestamp_of(&text)?;
            Ok(to.blocking_send(Line { text, timestamp_ms, round }).is_ok())
        })?;
        if !endless || to.is_closed() {
            break;
        }
    }
    Ok(())
}

/// `false` from `take` ends the reading.
fn each_line(path: &Path, mut take: impl FnMut(String) -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let mut lines = open(path).with_context(|| path.display().to_string())?;
    for number in 1u64.. {
        let place = || format!("{} line {number}", path.display());
        let mut text = String::new();
        let read = lines.by_ref().take(MAX_LINE_BYTES).read_line(&mut text).with_context(place)?;
        if read == 0 {
            break;
        }
        if !text.ends_with('\n') && u64::try_from(read).is_ok_and(|read| read == MAX_LINE_BYTES) {
            bail!("{}: longer than {MAX_LINE_BYTES} bytes", place());
        }
        text.truncate(text.trim_end().len());
        if !text.is_empty() && !take(text).with_context(place)? {
            break;
        }
    }
    Ok(())
}

fn open(path: &Path) -> std::io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::new(File::open(path)?);
    Ok(match file.fill_buf()?.starts_with(&GZIP_MAGIC) {
        true => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        false => Box::new(file),
    })
}

fn timestamp_of(text: &str) -> anyhow::Result<i64> {
    let fields: Fields<'_> = serde_json::from_str(text).context("not a recorded event")?;
    let raw = fields.timestamp.get();
    let found = match serde_json::from_str::<String>(raw) {
        Ok(time) => parse_iso_8601(&time),
        Err(_) => raw.parse().ok(),
    };
    found.with_context(|| format!("timestamp {raw} is neither whole milliseconds nor ISO 8601"))
}

impl Line {
    /// The event with a current time, and from the second round on with a message id of its own.
    pub fn rewritten(&self, rewrite: &Rewrite) -> String {
        let Ok(fields) = serde_json::from_str::<Fields<'_>>(&self.text) else { return self.text.clone() };
        let time = match fields.timestamp.get().starts_with('"') {
            true => format!("\"{}\"", format_iso_8601(rewrite.timestamp_ms)),
            false => rewrite.timestamp_ms.to_string(),
        };
        let mut changes = vec![(fields.timestamp.get(), time)];
        if let Some(id) = fields.message_id.map(RawValue::get).filter(|_| self.round > 1)
            && let Some(open) = id.strip_suffix('"')
        {
            changes.push((id, format!("{open}-r{}\"", self.round)));
        }
        replace(&self.text, changes)
    }
}

/// `changes`: parts of `text`, and what comes in their place.
fn replace(text: &str, changes: Vec<(&str, String)>) -> String {
    let offset = |part: &str| part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    let mut changes: Vec<_> = changes.into_iter().map(|(part, new)| (offset(part), part.len(), new)).collect();
    changes.sort_unstable();
    let mut changed = text.to_owned();
    for (start, length, new) in changes.into_iter().rev() {
        changed.replace_range(start..start + length, &new);
    }
    changed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    fn line(text: &str, round: u64) -> Line {
        Line { text: text.to_owned(), timestamp_ms: timestamp_of(text).unwrap(), round }
    }

    #[test]
    fn a_current_event_differs_only_in_time_and_id() {
        let rewrite = Rewrite { timestamp_ms: 1_721_046_896_789 };
        let event = line(r#"{"message_id": "m1", "timestamp" : 5, "metadata":{"timestamp":5}}"#, 1);
        assert_eq!(event.timestamp_ms, 5);
        let expected = r#"{"message_id": "m1", "timestamp" : 1721046896789, "metadata":{"timestamp":5}}"#;
        assert_eq!(event.rewritten(&rewrite), expected);
        let event = line(r#"{"timestamp":"1970-01-01T00:00:01Z","message_id":"m1","x":"ü"}"#, 3);
        assert_eq!(event.timestamp_ms, 1000);
        let expected = r#"{"timestamp":"2024-07-15T12:34:56.789Z","message_id":"m1-r3","x":"ü"}"#;
        assert_eq!(event.rewritten(&rewrite), expected);
    }

    #[test]
    fn plain_and_gzip_files_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let text = "{\"timestamp\":1}\n\n{\"timestamp\":2}\r\n{\"timestamp\":3}";
        let (plain, packed) = (dir.path().join("a.jsonl"), dir.path().join("a.jsonl.gz"));
        std::fs::write(&plain, text).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap();
        for path in [plain, packed] {
            assert_eq!(survey(&path).unwrap(), Overview { events: 3 });
            let (to, mut lines) = mpsc::channel(10);
            read(&path, false, &to).unwrap();
            drop(to);
            let times: Vec<i64> = std::iter::from_fn(|| lines.blocking_recv()).map(|line| line.timestamp_ms).collect();
            assert_eq!(times, [1, 2, 3]);
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let error = |text: &str| {
            std::fs::write(&path, text).unwrap();
            format!("{:#}", survey(&path).unwrap_err())
        };
        assert!(error("{\"timestamp\":1}\n{\"x\":1}\n").contains("line 2: not a recorded event"));
        assert!(error("{\"timestamp\":\"soon\"}\n").contains("timestamp \"soon\" is neither"));
        assert!(error("\n").contains("holds no events"));
        assert!(format!("{:#}", survey(&dir.path().join("none")).unwrap_err()).contains("No such file"));
    }
}
