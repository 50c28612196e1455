//! What clients publish: from the workers, one by one and in order, to whoever decides about it, and the answer back.
//!
//! What may wait long (for a log) has a lane of its own, so that nothing else stands behind it. A connection that has many
//! unanswered messages is not read on, so a lane is bounded by the number of connections and by [`MAX_QUEUED`] together.

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
/// Messages of a lane that are decided about at the same time; their order stays.
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

    /// Whether a message of this topic may have to wait for more than this process.
    fn may_wait(&self, _topic: &str) -> bool {
        false
    }
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

/// The workers' end of both lanes.
#[derive(Debug)]
pub struct Lanes {
    inbound: Arc<dyn Inbound>,
    quick: mpsc::Sender<Request>,
    waiting: mpsc::Sender<Request>,
}

impl Lanes {
    /// And the lanes' other ends, each for one [`run`].
    pub fn new(inbound: Arc<dyn Inbound>) -> (Self, [mpsc::Receiver<Request>; 2]) {
        let (quick, quick_end) = mpsc::channel(MAX_QUEUED);
        let (waiting, waiting_end) = mpsc::channel(MAX_QUEUED);
        (Self { inbound, quick, waiting }, [quick_end, waiting_end])
    }

    /// `false`: too many wait.
    pub fn submit(&self, request: Request) -> bool {
        let lane = if self.inbound.may_wait(request.publication.topic()) { &self.waiting } else { &self.quick };
        lane.try_send(request).is_ok()
    }
}

/// Decides about a lane's messages until shutdown.
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
