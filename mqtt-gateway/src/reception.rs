//! What clients publish, sorted: taps to the ingest, reports of nodes to the node, what a bridge brings to everybody, the rest to
//! the hub.

use crate::{
    cluster::REPORTS,
    edge::{Inbound, Publication, Reason, Verdict},
    feed::ClientMessages,
    node::Node,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// Topics of the streams; only a publish node that follows nobody lets clients (its bridge) publish there.
pub const STREAMS: &str = "streams/";
/// `taps/{stream}`: events on their way in, at the main node.
pub const TAPS: &str = "taps/";

/// Where taps go: the ingest of the streams.
#[async_trait]
pub trait Taps: Send + Sync + std::fmt::Debug + 'static {
    /// `committed`: returns when the log has them; else when they are sure to go there.
    async fn take(&self, stream: &str, events: Bytes, committed: bool) -> Result<(), TapRefused>;
}

/// Why taps were not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapRefused {
    pub reason: Reason,
    pub why: String,
}

#[derive(Debug)]
pub struct Reception {
    /// Put here once the edge listens: the node's address is the edge's.
    pub node: OnceLock<Arc<Node>>,
    /// At the main node, once the ingest runs.
    pub taps: OnceLock<Arc<dyn Taps>>,
    /// At the main node.
    clients: Option<ClientMessages>,
}

impl Reception {
    pub fn new(clients: Option<ClientMessages>) -> Self {
        Self { node: OnceLock::new(), taps: OnceLock::new(), clients }
    }

    /// Nobody waits for the answer to QoS 0: a refused tap is dropped and counted, and the client stays.
    async fn tap(&self, stream: &str, publication: &Publication) -> Verdict {
        let committed = publication.qos > 0;
        let taken = match self.taps.get() {
            Some(taps) => taps.take(stream, publication.payload.clone(), committed).await,
            None => Err(TapRefused::no_ingest()),
        };
        let Err(TapRefused { reason, why }) = taken else { return Verdict::Taken };
        metrics::counter!("tifo_mqtt_taps_refused_total", "reason" => label(reason)).increment(1);
        if committed { Verdict::Refused(reason, Some(why.into())) } else { Verdict::Taken }
    }
}

#[async_trait]
impl Inbound for Reception {
    async fn accept(&self, client_id: &str, publication: &Publication) -> Verdict {
        let topic = publication.topic();
        if topic.starts_with(REPORTS) {
            let heard = self.node.get().is_some_and(|node| node.hear(topic, &publication.payload));
            return if heard { Verdict::Taken } else { Verdict::Refused(Reason::NOT_AUTHORIZED, None) };
        }
        match (&self.clients, topic.strip_prefix(TAPS)) {
            (Some(_), Some(stream)) => self.tap(stream, publication).await,
            (Some(clients), None) if !topic.starts_with(STREAMS) => clients.accept(client_id, publication).await,
            _ => Verdict::FanOut,
        }
    }

    fn may_wait(&self, topic: &str) -> bool {
        topic.starts_with(TAPS)
    }
}

impl TapRefused {
    fn no_ingest() -> Self {
        let why = "this process has no ingest that runs: taps need the role `http` beside `mqtt`".to_owned();
        Self { reason: Reason::IMPLEMENTATION, why }
    }
}

fn label(reason: Reason) -> &'static str {
    match reason {
        Reason::TOPIC_INVALID => "unknown_stream",
        Reason::PAYLOAD_FORMAT_INVALID => "bad_event",
        Reason::QUOTA_EXCEEDED => "limit",
        _ => "log",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{config::Limits, hub::Hub};
    use parking_lot::Mutex;

    #[derive(Debug, Default)]
    struct Taken(Mutex<Vec<(String, Bytes, bool)>>);

    #[async_trait]
    impl Taps for Taken {
        async fn take(&self, stream: &str, events: Bytes, committed: bool) -> Result<(), TapRefused> {
            if stream != "emoji" {
                return Err(TapRefused { reason: Reason::TOPIC_INVALID, why: "no such stream".into() });
            }
            self.0.lock().push((stream.to_owned(), events, committed));
            Ok(())
        }
    }

    fn main_node() -> Reception {
        let limits = Limits::default();
        Reception::new(Some(ClientMessages::new(Hub::start(&limits).unwrap(), &limits)))
    }

    fn publication(topic: &str, qos: u8) -> Publication {
        Publication::new(topic, Bytes::from_static(b"{}"), qos, false, &Default::default()).unwrap()
    }

    #[tokio::test]
    async fn taps_go_to_the_ingest_and_nowhere_else() {
        let (reception, taken) = (main_node(), Arc::new(Taken::default()));
        reception.taps.set(taken.clone()).unwrap();
        for qos in [0, 1] {
            assert_eq!(reception.accept("c", &publication("taps/emoji", qos)).await, Verdict::Taken);
        }
        let payload = Bytes::from_static(b"{}");
        assert_eq!(
            *taken.0.lock(),
            [("emoji".to_owned(), payload.clone(), false), ("emoji".to_owned(), payload, true)]
        );
        let refused = Verdict::Refused(Reason::TOPIC_INVALID, Some("no such stream".into()));
        assert_eq!(reception.accept("c", &publication("taps/other", 1)).await, refused);
        assert_eq!(
            reception.accept("c", &publication("taps/other", 0)).await,
            Verdict::Taken,
            "nobody waits for words"
        );
        assert_eq!(reception.accept("c", &publication("clients/taps/emoji", 1)).await, Verdict::FanOut);
    }

    #[tokio::test]
    async fn without_an_ingest_taps_are_refused_in_words() {
        let verdict = main_node().accept("c", &publication("taps/emoji", 1)).await;
        let Verdict::Refused(Reason::IMPLEMENTATION, Some(why)) = verdict else { panic!("{verdict:?}") };
        assert!(why.contains("role `http`"), "{why}");
    }
}
