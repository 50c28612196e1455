//! Moods to messages, and messages to the publisher until it has accepted them.

use super::{Delivery, normalise::Mood, outbox::rounds, payload, topic};
use crate::message::{Message, NodePath, Origin};
use std::{collections::HashMap, sync::atomic::Ordering};
use tifo_broker::clock::Clock;

/// Publishes one partition's moods.
#[derive(Debug)]
pub struct Publishing {
    shared: Delivery,
    path: NodePath,
    /// The last sequence of each topic; at most the number of channels that delivery knows.
    sent: HashMap<String, u64>,
}

impl Publishing {
    pub fn new(shared: Delivery) -> Self {
        let path = NodePath::from_text(&shared.settings.node);
        Self { shared, path, sent: HashMap::new() }
    }

    /// In rounds of one message per channel, each until it is accepted; `None` at shutdown.
    pub async fn publish(&mut self, moods: Vec<Mood>) -> Option<()> {
        for round in rounds(moods) {
            let accepted = self.accepted(&round).await?;
            self.shared.counters.published.fetch_add(accepted, Ordering::Relaxed);
            let stream = self.shared.stream.name.clone();
            metrics::counter!("tifo_mqtt_messages_published_total", "stream" => stream).increment(accepted);
            round.iter().for_each(|mood| self.measure(mood));
        }
        Some(())
    }

    /// The state as it was before this process started, for newcomers; no news, so not measured.
    pub async fn restore(&mut self, moods: Vec<Mood>) -> Option<()> {
        self.accepted(&moods).await.map(|_| ())
    }

    /// The number of moods that made messages.
    async fn accepted(&mut self, moods: &[Mood]) -> Option<u64> {
        let mut messages = Vec::with_capacity(moods.len());
        let mut count = 0;
        for mood in moods {
            match self.messages(mood) {
                Some(forms) => {
                    messages.extend(forms);
                    count += 1;
                }
                None => count_skip("channel_id_too_long"),
            }
        }
        while let Err(error) = self.shared.publisher.publish(&messages).await {
            tracing::warn!(stream = self.shared.stream.name, %error, "publish failed: trying again");
            self.shared.pause().await?;
        }
        Some(count)
    }

    /// The forms of one mood, each on its topic.
    fn messages(&mut self, mood: &Mood) -> Option<Vec<Message>> {
        let topic = topic::stream_topic(&mood.stream, &mood.channel_id, self.shared.settings.max_channel_bytes)?;
        let origin = Origin {
            time_ms: Clock::system().now_ms(),
            sequence: mood.sequence,
            previous: self.previous(&mood.channel_id, mood.sequence),
            path: self.path.clone(),
        };
        let message =
            |topic: String, payload| Message { topic: topic.into(), payload, retain: true, origin: origin.clone() };
        let mut messages = Vec::with_capacity(2);
        if self.shared.stream.binary {
            messages.push(message(topic::binary_topic(&topic), payload::binary(mood)));
        }
        messages.push(message(topic, payload::json(mood)?));
        Some(messages)
    }

    fn previous(&mut self, channel: &str, sequence: u64) -> u64 {
        if let Some(sent) = self.sent.get_mut(channel) {
            return std::mem::replace(sent, sequence);
        }
        if self.sent.len() >= self.shared.settings.max_channels {
            // Without a previous one a receiver only sees no gap.
            self.sent.clear();
        }
        self.sent.insert(channel.to_owned(), sequence);
        0
    }

    fn measure(&self, mood: &Mood) {
        let latency_ms = Clock::system().now_ms().saturating_sub(mood.telling.window_end).max(0);
        metrics::histogram!("tifo_mqtt_publish_latency_seconds", "stream" => self.shared.stream.name.clone())
            .record(latency_ms as f64 / 1_000.0);
    }
}

pub fn count_skip(reason: &'static str) {
    metrics::counter!("tifo_mqtt_delivery_skips_total", "reason" => reason).increment(1);
}
