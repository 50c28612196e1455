//! The hub: retained state, fan-out logs and sessions, by rumqttd's router, embedded.
//!
//! Only this folder names rumqttd. [`router`] wraps one router thread and its links; this file keeps one running: a thread that
//! died or hangs is noticed by a pulse, a fresh one takes over with the retained messages of the gateway, and the links of the
//! old one end. There is no port: whoever is not a [`Link`] or a [`Publisher`] cannot reach it.
//!
//! Never: pass on anything unchecked (see `router`'s list of what kills it), or touch the log.

mod router;

pub use router::Link;
#[cfg(test)]
use router::LinkEvent;

use crate::{config::Limits, message::Message};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use router::RouterHandle;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::Mutex as AsyncMutex;
use tokio_util::sync::CancellationToken;

/// How often the router is asked for a sign of life. It also wakes a router that sleeps although connections are ready (0.20
/// stops polling when the first in its ready queue has gone).
const PULSE_INTERVAL: Duration = Duration::from_millis(250);
/// A router that says nothing for so long is given up.
const PULSE_TIMEOUT: Duration = Duration::from_secs(15);
/// Messages between two acknowledgements of the router.
const MAX_PUBLISH_CHUNK: usize = 500;

/// Why the hub did not do it. Another try may succeed: it is being started again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct HubError(pub String);

/// The seam between delivery and whatever fans out.
#[async_trait]
pub trait Publisher: Send + Sync + std::fmt::Debug + 'static {
    /// Returns once all of `messages` are accepted: they are in the logs of their subscribers and in the retained state.
    async fn publish(&self, messages: &[Message]) -> Result<(), HubError>;
}

/// A rumqttd router that is always there.
#[derive(Debug)]
pub struct Hub {
    limits: Limits,
    current: RwLock<Arc<RouterHandle>>,
    /// The gateway's own link; `None` until the next publish after a restart.
    publisher: AsyncMutex<Option<Link>>,
    /// Last message per topic of the gateway, for a router that starts empty. At most `max_retained_topics`.
    retained: Mutex<HashMap<Bytes, Message>>,
}

impl Hub {
    /// Starts the first router; [`Hub::keep_alive`] must run beside it.
    pub fn start(limits: &Limits) -> Result<Arc<Self>, HubError> {
        Ok(Arc::new(Self {
            limits: limits.clone(),
            current: RwLock::new(Arc::new(RouterHandle::spawn(0, limits)?)),
            publisher: AsyncMutex::new(None),
            retained: Mutex::default(),
        }))
    }

    /// Opens a link. `slot` is our own name for it, never a client's id.
    pub async fn attach(&self, slot: &str, clean_session: bool) -> Result<Link, HubError> {
        let router = self.current();
        let slot = slot.to_owned();
        // Opening waits for the router's answer on a thread, so not on one of the runtime's.
        tokio::task::spawn_blocking(move || router.attach(&slot, clean_session))
            .await
            .map_err(|e| HubError(format!("opening a link: {e}")))?
    }

    /// Watches the router until `shutdown` and replaces it when it dies.
    pub async fn keep_alive(self: Arc<Self>, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let router = self.current();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = pulse(router.clone()) => {}
            }
            metrics::counter!("tifo_mqtt_hub_restarts_total").increment(1);
            tracing::error!(generation = router.generation, "the MQTT hub died: starting it again");
            self.restart(router.generation + 1).await;
        }
    }

    async fn restart(&self, generation: u64) {
        match RouterHandle::spawn(generation, &self.limits) {
            Ok(router) => {
                let mut publisher = self.publisher.lock().await;
                *publisher = None;
                *self.current.write() = Arc::new(router);
                if let Err(error) = self.publish_retained(&mut publisher).await {
                    tracing::error!(%error, "the new MQTT hub did not take the retained messages");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the MQTT hub does not start again: trying on");
                tokio::time::sleep(PULSE_INTERVAL).await;
            }
        }
    }

    async fn publish_retained(&self, publisher: &mut Option<Link>) -> Result<(), HubError> {
        let retained: Vec<Message> = self.retained.lock().values().cloned().collect();
        self.publish_on(publisher, &retained).await
    }

    async fn publish_on(&self, publisher: &mut Option<Link>, messages: &[Message]) -> Result<(), HubError> {
        for chunk in messages.chunks(MAX_PUBLISH_CHUNK) {
            let link = match publisher {
                Some(link) => link,
                None => publisher.insert(self.attach("gateway", true).await?),
            };
            let accepted = async {
                for message in chunk {
                    link.sender.queue(message.topic.clone(), message.payload.clone(), message.retain);
                }
                link.sender.barrier()?;
                link.receiver.until_barrier().await
            };
            if let Err(error) = tokio::time::timeout(PULSE_TIMEOUT, accepted).await.unwrap_or_else(|_| Err(silent())) {
                *publisher = None;
                return Err(error);
            }
        }
        Ok(())
    }

    fn remember(&self, messages: &[Message]) {
        let mut retained = self.retained.lock();
        for message in messages.iter().filter(|message| message.retain) {
            if retained.len() < self.limits.max_retained_topics || retained.contains_key(&message.topic) {
                retained.insert(message.topic.clone(), message.clone());
            }
        }
    }

    fn current(&self) -> Arc<RouterHandle> {
        self.current.read().clone()
    }

    /// Kills the router thread the way a client once could.
    #[cfg(test)]
    pub fn crash(&self) {
        self.current().crash();
    }
}

#[async_trait]
impl Publisher for Hub {
    async fn publish(&self, messages: &[Message]) -> Result<(), HubError> {
        let mut publisher = self.publisher.lock().await;
        self.publish_on(&mut publisher, messages).await?;
        self.remember(messages);
        Ok(())
    }
}

/// Returns when the router is dead or silent.
async fn pulse(router: Arc<RouterHandle>) {
    let Ok(Ok(mut link)) = tokio::task::spawn_blocking(move || router.attach("pulse", true)).await else { return };
    loop {
        let beat = async {
            link.sender.barrier()?;
            link.receiver.until_barrier().await
        };
        if !matches!(tokio::time::timeout(PULSE_TIMEOUT, beat).await, Ok(Ok(()))) {
            return;
        }
        tokio::time::sleep(PULSE_INTERVAL).await;
    }
}

fn silent() -> HubError {
    HubError("the hub does not answer".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::message::Origin;

    fn message(topic: &str, payload: &str) -> Message {
        let (topic, payload) = (Bytes::copy_from_slice(topic.as_bytes()), Bytes::copy_from_slice(payload.as_bytes()));
        Message { topic, payload, retain: true, origin: Origin::default() }
    }

    async fn first_frame(hub: &Hub, filter: &str) -> Bytes {
        let mut link = hub.attach("s1", true).await.unwrap();
        link.sender.subscribe(filter);
        link.sender.barrier().unwrap();
        loop {
            if let LinkEvent::Message(frame) = link.receiver.next().await.unwrap() {
                return frame;
            }
        }
    }

    #[tokio::test]
    async fn a_newcomer_gets_the_retained_message() {
        let hub = Hub::start(&Limits::default()).unwrap();
        hub.publish(&[message("streams/emoji/a", "one"), message("streams/emoji/a", "two")]).await.unwrap();
        assert!(first_frame(&hub, "streams/emoji/+").await.ends_with(b"two"));
    }

    #[tokio::test]
    async fn a_dead_router_is_replaced_and_knows_the_retained_messages() {
        let hub = Hub::start(&Limits::default()).unwrap();
        let shutdown = CancellationToken::new();
        let keeper = tokio::spawn(hub.clone().keep_alive(shutdown.clone()));
        hub.publish(&[message("streams/emoji/a", "kept")]).await.unwrap();
        let mut old = hub.attach("s0", true).await.unwrap();
        hub.crash();
        while old.receiver.next().await.is_ok() {}
        while hub.current().generation == 0 {
            tokio::task::yield_now().await;
        }
        hub.publish(&[message("streams/emoji/b", "new")]).await.unwrap();
        assert!(first_frame(&hub, "streams/emoji/a").await.ends_with(b"kept"));
        shutdown.cancel();
        keeper.await.unwrap();
    }
}
