//! What clients publish: from the workers, one by one and in order, to whoever decides about it, and the answer back.
//!
//! A connection that has many unanswered messages is not read on, so this queue is bounded by the number of connections and by
//! [`MAX_QUEUED`] together.

use super::{
    index::Slot,
    spine::{Command, Spine},
    wire::{Reason, publish::Publication},
};
use async_trait::async_trait;
use futures::StreamExt;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Messages of clients that wait to be decided about; beyond it they are refused with Quota Exceeded.
const MAX_QUEUED: usize = 16_384;
/// Messages decided about at the same time; their order stays.
const MAX_CONCURRENT: usize = 64;

/// What becomes of a client's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Subscribers of this node get it.
    FanOut,
    /// It has gone elsewhere (an ingest); nobody here gets it.
    Taken,
    /// With words for whoever takes them (Reason String, 3.4.2.2.2).
    Refused(Reason, Option<Box<str>>),
}

/// Where an allowed PUBLISH of a client goes.
#[async_trait]
pub trait Inbound: Send + Sync + std::fmt::Debug + 'static {
    async fn accept(&self, client_id: &str, publication: &Publication) -> Verdict;
}

/// Everything that is allowed goes to the subscribers of this node.
#[derive(Debug)]
pub struct Local;

#[async_trait]
impl Inbound for Local {
    async fn accept(&self, _: &str, _: &Publication) -> Verdict {
        Verdict::FanOut
    }
}

#[derive(Debug)]
pub struct Request {
    pub client_id: Arc<str>,
    pub publication: Publication,
    /// `None`: nobody waits for the answer (a will).
    pub answer: Option<Answer>,
}

/// To whom, and for which packet.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    pub worker: u16,
    pub slot: Slot,
    pub qos: u8,
    pub packet_id: u16,
}

pub fn queue() -> (mpsc::Sender<Request>, mpsc::Receiver<Request>) {
    mpsc::channel(MAX_QUEUED)
}

/// Decides until shutdown.
pub async fn run(spine: Arc<Spine>, inbound: Arc<dyn Inbound>, mut requests: mpsc::Receiver<Request>) {
    let stream = futures::stream::poll_fn(move |context| requests.poll_recv(context));
    let mut decided = stream
        .map(|request| {
            let inbound = inbound.clone();
            async move { (inbound.accept(&request.client_id, &request.publication).await, request) }
        })
        .buffered(MAX_CONCURRENT);
    loop {
        let next = tokio::select! {
            () = spine.shutdown.cancelled() => return,
            next = decided.next() => next,
        };
        let Some((verdict, request)) = next else { return };
        settle(&spine, verdict, request).await;
    }
}

async fn settle(spine: &Spine, verdict: Verdict, request: Request) {
    let (reason, why) = match verdict {
        Verdict::FanOut => {
            spine.publish(&[Arc::new(request.publication)]).await;
            (Reason::SUCCESS, None)
        }
        Verdict::Taken => (Reason::SUCCESS, None),
        Verdict::Refused(reason, why) => (reason, why),
    };
    if let Some(answer) = request.answer {
        spine.command(answer.worker, Command::Answer(answer, reason, why));
    }
}
