//! The in-process bridge: what the hub has accepted goes on to the edge, and clients' messages go the same way.

use crate::{
    config::Limits,
    edge::{Edge, Inbound, Publication, Reason, Verdict},
    hub::{Hub, HubError, Publisher},
    message::{Message, Origin},
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::HashSet, sync::Arc};

/// Delivery's publisher: first the hub, then the edge, so that nobody sees what the hub has not.
#[derive(Debug)]
pub struct Feed {
    pub hub: Arc<Hub>,
    pub edge: Arc<Edge>,
}

#[async_trait]
impl Publisher for Feed {
    async fn publish(&self, messages: &[Message]) -> Result<(), HubError> {
        self.hub.publish(messages).await?;
        self.edge.publish(messages).await
    }
}

/// Messages of clients: to the hub for other nodes, and to the edge's own subscribers whether the hub is there or not.
#[derive(Debug)]
pub struct ClientMessages {
    hub: Arc<Hub>,
    max_topics: usize,
    /// Topics that clients have published to; at most `max_topics`, because the hub never forgets one.
    topics: Mutex<HashSet<Arc<str>>>,
}

impl ClientMessages {
    pub fn new(hub: Arc<Hub>, limits: &Limits) -> Self {
        Self { hub, max_topics: limits.max_client_topics, topics: Mutex::default() }
    }

    fn admit(&self, publication: &Publication) -> bool {
        let mut topics = self.topics.lock();
        topics.contains(publication.topic())
            || (topics.len() < self.max_topics && topics.insert(publication.shared_topic()))
    }
}

#[async_trait]
impl Inbound for ClientMessages {
    async fn accept(&self, client_id: &str, publication: &Publication) -> Verdict {
        if !self.admit(publication) {
            return Verdict::Refused(Reason::QUOTA_EXCEEDED, None);
        }
        let message = Message {
            topic: Bytes::copy_from_slice(publication.topic().as_bytes()),
            payload: publication.payload.clone(),
            retain: publication.retain,
            origin: Origin::default(),
        };
        if let Err(error) = self.hub.publish(&[message]).await {
            metrics::counter!("tifo_mqtt_hub_misses_total").increment(1);
            tracing::warn!(client_id, %error, "a client's message did not reach the hub");
        }
        Verdict::FanOut
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn topics_of_clients_are_bounded() {
        let limits = Limits { max_client_topics: 1, ..Limits::default() };
        let clients = ClientMessages::new(Hub::start(&limits).unwrap(), &limits);
        let publication = |topic: &str| Publication::plain(topic, Bytes::from_static(b"x"), false).unwrap();
        assert_eq!(clients.accept("c", &publication("clients/a")).await, Verdict::FanOut);
        assert_eq!(clients.accept("c", &publication("clients/a")).await, Verdict::FanOut);
        let refused = Verdict::Refused(Reason::QUOTA_EXCEEDED, None);
        assert_eq!(clients.accept("c", &publication("clients/b")).await, refused);
    }
}
