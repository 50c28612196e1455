//! From the lane to the next node: this process's own, or a broker elsewhere.

use super::{
    backoff::Backoff,
    client::{Account, Arrival, Client, Requests},
    lane::Lane,
};
use crate::{
    hub::{HubError, Publisher},
    message::Message,
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};
use tifo_broker::clock::Clock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Takes from the lane and publishes, each message until it is accepted.
pub async fn run(lane: Arc<Lane>, publisher: Arc<dyn Publisher>, shutdown: CancellationToken) {
    let mut backoff = Backoff::default();
    loop {
        let messages = tokio::select! {
            () = shutdown.cancelled() => return,
            messages = lane.take() => messages,
        };
        metrics::gauge!("tifo_mqtt_bridge_waiting").set(lane.len() as f64);
        while let Err(error) = tokio::select! {
            () = shutdown.cancelled() => return,
            published = publisher.publish(&messages) => published,
        } {
            tracing::warn!(%error, "the node downstream does not take it: trying again");
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(backoff.next(0)) => {}
            }
        }
        backoff.succeeded();
    }
}

/// An MQTT broker elsewhere as the next node. It gets the whole retained state whenever it is connected to anew.
#[derive(Debug)]
pub struct Elsewhere {
    requests: Requests,
    connected: watch::Receiver<bool>,
    /// The last retained message of each topic; at most `max_topics`.
    retained: Arc<Mutex<HashMap<Bytes, Message>>>,
    max_topics: usize,
}

impl Elsewhere {
    /// The publisher, and what keeps its connection until shutdown.
    pub fn new(
        account: Account,
        max_topics: usize,
        shutdown: CancellationToken,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let client = Client::new(&account);
        let (state, connected) = watch::channel(false);
        let retained = Arc::new(Mutex::new(HashMap::new()));
        let publisher = Self { requests: client.requests.clone(), connected, retained: retained.clone(), max_topics };
        (Arc::new(publisher), keep(client, account, state, retained, shutdown))
    }

    fn remember(&self, message: &Message) {
        let mut retained = self.retained.lock();
        if message.retain && (retained.len() < self.max_topics || retained.contains_key(&message.topic)) {
            retained.insert(message.topic.clone(), message.clone());
        }
    }
}

#[async_trait]
impl Publisher for Elsewhere {
    async fn publish(&self, messages: &[Message]) -> Result<(), HubError> {
        for message in messages {
            self.remember(message);
            let mut connected = self.connected.clone();
            let gone = || HubError("the connection to the broker downstream is ended".into());
            connected.wait_for(|connected| *connected).await.map_err(|_| gone())?;
            if !self.requests.publish(message).await {
                return Err(gone());
            }
        }
        Ok(())
    }
}

async fn keep(
    mut client: Client,
    account: Account,
    connected: watch::Sender<bool>,
    retained: Arc<Mutex<HashMap<Bytes, Message>>>,
    shutdown: CancellationToken,
) {
    let (mut backoff, random) = (Backoff::default(), RandomState::new());
    let mut replay: Option<tokio::task::JoinHandle<()>> = None;
    loop {
        let arrival = tokio::select! {
            () = shutdown.cancelled() => return client.requests.disconnect(),
            arrival = client.next() => arrival,
        };
        match arrival {
            Ok(Arrival::Connected) => {
                backoff.succeeded();
                tracing::info!(downstream = %account, "connected to the broker downstream");
                let state: Vec<Message> = retained.lock().values().cloned().collect();
                let (requests, connected) = (client.requests.clone(), connected.clone());
                let next = tokio::spawn(async move {
                    for message in &state {
                        requests.publish(message).await;
                    }
                    connected.send_replace(true);
                });
                // An older state must not come between.
                replay.replace(next).inspect(tokio::task::JoinHandle::abort);
            }
            Ok(_) => {}
            Err(error) => {
                if connected.send_replace(false) {
                    tracing::warn!(downstream = %account, %error, "lost the broker downstream: trying again");
                }
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(backoff.next(random.hash_one(Clock::system().now_ms()))) => {}
                }
            }
        }
    }
}
