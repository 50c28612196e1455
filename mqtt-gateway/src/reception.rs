//! What clients publish, sorted: reports of nodes to the node, what a bridge brings to everybody, the rest to the hub.

use crate::{
    cluster::REPORTS,
    edge::{Inbound, Publication, Reason, Verdict},
    feed::ClientMessages,
    node::Node,
};
use async_trait::async_trait;
use std::sync::{Arc, OnceLock};

/// Topics of the streams; only a publish node that follows nobody lets clients (its bridge) publish there.
pub const STREAMS: &str = "streams/";

#[derive(Debug)]
pub struct Reception {
    /// Put here once the edge listens: the node's address is the edge's.
    pub node: OnceLock<Arc<Node>>,
    /// At the main node.
    pub clients: Option<ClientMessages>,
}

#[async_trait]
impl Inbound for Reception {
    async fn accept(&self, client_id: &str, publication: &Publication) -> Verdict {
        let topic = publication.topic();
        if topic.starts_with(REPORTS) {
            let heard = self.node.get().is_some_and(|node| node.hear(topic, &publication.payload));
            return if heard { Verdict::Taken } else { Verdict::Refused(Reason::NOT_AUTHORIZED) };
        }
        match &self.clients {
            Some(clients) if !topic.starts_with(STREAMS) => clients.accept(client_id, publication).await,
            _ => Verdict::FanOut,
        }
    }
}
