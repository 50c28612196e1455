//! One ordered sender: takes everything that is due into one request, and sends the next when it is answered.

use anyhow::bail;
use bytes::Bytes;
use indicatif::ProgressBar;
use reqwest::StatusCode;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};
use tifo_http_gateway::{EPOCH_HEADER, PRODUCER_ID_HEADER, SEQUENCES_HEADER, next_sequence};
use tokio::sync::mpsc;

use super::{
    AckMode,
    server::{Answer, Retry, Server},
};

/// Events in one request.
const MAX_EVENTS: usize = 2000;
/// Bytes in one request, well below the gateway's own limits.
const MAX_BYTES: usize = 512 << 10;

/// What a lane did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Events that were taken.
    pub sent: u64,
    /// Requests that had to be sent again.
    pub repeated: u64,
    /// Events that the gateway will not take.
    pub refused: u64,
    pub first_refusal: String,
    /// Events that were sent again though the first time may have worked.
    pub ambiguous: u64,
}

impl Report {
    pub fn add(&mut self, other: Report) {
        self.sent += other.sent;
        self.repeated += other.repeated;
        self.refused += other.refused;
        self.ambiguous += other.ambiguous;
        if self.first_refusal.is_empty() {
            self.first_refusal = other.first_refusal;
        }
    }
}

/// This lane's events as an idempotent producer's.
#[derive(Debug)]
struct Numbering {
    producer_id: i64,
    epoch: i16,
    /// Of the next event for each partition.
    sequences: BTreeMap<i32, i32>,
}

pub struct Lane {
    server: Arc<Server>,
    ack: AckMode,
    bar: ProgressBar,
    report: Report,
    numbering: Option<Numbering>,
}

impl Lane {
    pub fn new(server: Arc<Server>, ack: AckMode, bar: ProgressBar) -> Self {
        Self { server, ack, bar, report: Report::default(), numbering: None }
    }

    /// Until the events end; an error if the server stays away or the log contradicts the numbering.
    pub async fn run(mut self, mut waiting: mpsc::Receiver<String>) -> anyhow::Result<Report> {
        if self.ack == AckMode::Committed {
            self.begin_numbering().await?;
        }
        let mut events = Vec::new();
        let mut next = None;
        loop {
            next = collect(&mut waiting, &mut events, next).await;
            if events.is_empty() {
                return Ok(self.report);
            }
            while !events.is_empty() {
                self.send(&mut events).await?;
            }
        }
    }

    async fn begin_numbering(&mut self) -> anyhow::Result<()> {
        match self.server.new_producer().await? {
            Some((producer_id, epoch)) => {
                self.numbering = Some(Numbering { producer_id, epoch, sequences: BTreeMap::new() });
            }
            None => {
                self.bar.println("this server cannot recognise repeated requests: a lost answer may store events twice")
            }
        }
        Ok(())
    }

    /// Sends until answered. Afterwards `events` holds what must be sent in another request: nothing, or all but one
    /// that was refused.
    async fn send(&mut self, events: &mut Vec<String>) -> anyhow::Result<()> {
        let body = Bytes::from(events.join("\n"));
        let headers = self.numbering.as_ref().map(Numbering::headers).unwrap_or_default();
        let count = count(events.len());
        let mut retry: Option<Retry> = None;
        loop {
            match self.server.post(self.ack, body.clone(), &headers).await? {
                Answer::Done(answer) => {
                    self.done(&answer, count)?;
                    events.clear();
                    return Ok(());
                }
                Answer::Refused { status, detail, index } => return self.refused(events, status, detail, index),
                Answer::Later { reason, after, maybe_stored } => {
                    if retry.is_none() {
                        self.bar.println(format!("no answer yet, trying again: {reason}"));
                    }
                    self.bar.set_message(reason.clone());
                    self.report.repeated += 1;
                    if maybe_stored && self.numbering.is_none() {
                        self.report.ambiguous += count;
                    }
                    retry.get_or_insert_with(|| self.server.retry()).wait(&reason, after).await?;
                }
            }
        }
    }

    fn done(&mut self, answer: &Value, events: u64) -> anyhow::Result<()> {
        if let Some(numbering) = &mut self.numbering {
            numbering.advance(answer, events)?;
        }
        self.report.sent += events;
        self.bar.set_message("");
        self.bar.inc(events);
        Ok(())
    }

    /// The gateway takes a request whole or not at all: without the bad event the others may pass.
    fn refused(
        &mut self,
        events: &mut Vec<String>,
        status: StatusCode,
        detail: String,
        index: Option<usize>,
    ) -> anyhow::Result<()> {
        if status == StatusCode::CONFLICT {
            bail!("the log refused, and may have a part: {detail}");
        }
        let refused = match index.filter(|index| *index < events.len()) {
            Some(index) => {
                events.remove(index);
                1
            }
            None => count(std::mem::take(events).len()),
        };
        if self.report.first_refusal.is_empty() {
            self.bar.println(format!("refused: {status}: {detail}"));
            self.report.first_refusal = detail;
        }
        self.report.refused += refused;
        self.bar.inc(refused);
        Ok(())
    }
}

impl Numbering {
    fn headers(&self) -> Vec<(&'static str, String)> {
        let sequences: Vec<String> =
            self.sequences.iter().map(|(partition, next)| format!("{partition}={next}")).collect();
        vec![
            (PRODUCER_ID_HEADER, self.producer_id.to_string()),
            (EPOCH_HEADER, self.epoch.to_string()),
            (SEQUENCES_HEADER, sequences.join(",")),
        ]
    }

    /// Counts where the events of an answered request went.
    fn advance(&mut self, answer: &Value, events: u64) -> anyhow::Result<()> {
        let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
        let partitions = results.iter().filter_map(|result| i32::try_from(result["partition"].as_i64()?).ok());
        let mut placed = 0;
        for partition in partitions {
            let next = self.sequences.entry(partition).or_insert(0);
            *next = next_sequence(*next, 1);
            placed += 1;
        }
        if placed != events {
            bail!("the server answered {placed} places for {events} events");
        }
        Ok(())
    }
}

/// Everything that waits, within the limits of a request; at least one event unless they have ended. Returns the event
/// that no longer fitted.
async fn collect(
    waiting: &mut mpsc::Receiver<String>,
    events: &mut Vec<String>,
    first: Option<String>,
) -> Option<String> {
    let first = match first {
        Some(first) => first,
        None => waiting.recv().await?,
    };
    let mut bytes = first.len();
    events.push(first);
    while events.len() < MAX_EVENTS {
        let Ok(event) = waiting.try_recv() else { return None };
        bytes += event.len() + 1;
        if bytes > MAX_BYTES {
            return Some(event);
        }
        events.push(event);
    }
    None
}

fn count(events: usize) -> u64 {
    u64::try_from(events).unwrap_or(u64::MAX)
}
