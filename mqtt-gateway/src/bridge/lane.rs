//! Messages between two nodes: in order, until the far side lags; then the latest of each topic wins.
//!
//! The reading side never waits, so that a slow neighbour does not hold back the node before it; the queue is bounded by
//! [`MAX_WAITING`] and one message of each topic.

use crate::message::Message;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use tokio::sync::Notify;

/// Messages that wait before newer ones replace older ones.
pub const MAX_WAITING: usize = 1_024;
/// Messages taken out at once.
const MAX_TAKEN: usize = 256;

#[derive(Debug)]
pub struct Lane {
    queue: Mutex<Queue>,
    filled: Notify,
}

/// The queue itself; pure.
#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Message>,
    /// Number of the first one that waits.
    first: u64,
    /// The number of each topic's last one.
    last: HashMap<Bytes, u64>,
    max_topics: usize,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Queued,
    /// An older one of its topic has made way.
    Replaced,
    /// Even so there is no room.
    Full,
}

impl Lane {
    pub fn new(max_topics: usize) -> Self {
        let queue = Queue { waiting: VecDeque::new(), first: 0, last: HashMap::new(), max_topics };
        Self { queue: Mutex::new(queue), filled: Notify::new() }
    }

    pub fn put(&self, message: Message) -> Put {
        let put = self.queue.lock().put(message);
        self.filled.notify_one();
        put
    }

    /// Waits for the next ones. Cancel safe.
    pub async fn take(&self) -> Vec<Message> {
        loop {
            let filled = self.filled.notified();
            let taken = self.queue.lock().take();
            if !taken.is_empty() {
                return taken;
            }
            filled.await;
        }
    }

    pub fn len(&self) -> usize {
        self.queue.lock().waiting.len()
    }
}

impl Queue {
    fn put(&mut self, message: Message) -> Put {
        let next = self.first + self.waiting.len() as u64;
        if self.waiting.len() < MAX_WAITING {
            self.last.insert(message.topic.clone(), next);
            self.waiting.push_back(message);
            return Put::Queued;
        }
        let last = self.last.get(&message.topic).copied();
        if let Some(place) = last.and_then(|number| self.place(number)) {
            *place = message;
            return Put::Replaced;
        }
        if self.waiting.len() >= MAX_WAITING + self.max_topics {
            return Put::Full;
        }
        self.last.insert(message.topic.clone(), next);
        self.waiting.push_back(message);
        Put::Queued
    }

    fn place(&mut self, number: u64) -> Option<&mut Message> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.waiting.get_mut(index)
    }

    fn take(&mut self) -> Vec<Message> {
        let count = self.waiting.len().min(MAX_TAKEN);
        let taken: Vec<Message> = self.waiting.drain(..count).collect();
        self.first += count as u64;
        let first = self.first;
        for message in &taken {
            if self.last.get(&message.topic).is_some_and(|number| *number < first) {
                self.last.remove(&message.topic);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::message::Origin;
    use proptest::prelude::*;

    fn message(topic: usize, sequence: u64) -> Message {
        let origin = Origin { sequence, ..Origin::default() };
        Message { topic: format!("t{topic}").into(), payload: Bytes::new(), retain: true, origin }
    }

    #[tokio::test]
    async fn nothing_is_lost_while_the_far_side_keeps_up() {
        let lane = Lane::new(10);
        for sequence in 0..MAX_WAITING as u64 {
            assert_eq!(lane.put(message(0, sequence)), Put::Queued);
        }
        let mut seen = Vec::new();
        while seen.len() < MAX_WAITING {
            seen.extend(lane.take().await.iter().map(|message| message.origin.sequence));
        }
        assert!(seen.iter().copied().eq(0..MAX_WAITING as u64));
        assert!(lane.queue.lock().last.is_empty());
    }

    #[tokio::test]
    async fn who_lags_gets_the_latest_of_each_topic() {
        let lane = Lane::new(2);
        (0..MAX_WAITING as u64).for_each(|sequence| assert_eq!(lane.put(message(0, sequence)), Put::Queued));
        assert_eq!(lane.put(message(0, 5_000)), Put::Replaced);
        assert_eq!(lane.put(message(1, 1)), Put::Queued);
        assert_eq!(lane.put(message(1, 2)), Put::Replaced);
        assert_eq!(lane.put(message(2, 1)), Put::Queued);
        assert_eq!(lane.put(message(3, 1)), Put::Full);
        assert_eq!(lane.len(), MAX_WAITING + 2);
    }

    proptest! {
        #[test]
        fn each_topic_stays_in_order_and_ends_with_its_newest(
            steps in proptest::collection::vec((0_usize..5, 1_usize..700, any::<bool>()), 1..60),
        ) {
            let mut queue = Queue { waiting: VecDeque::new(), first: 0, last: HashMap::new(), max_topics: 8 };
            let (mut sequence, mut newest, mut taken) = (0, HashMap::new(), Vec::new());
            for (topic, count, takes) in steps {
                for _ in 0..count {
                    sequence += 1;
                    prop_assert!(queue.put(message(topic, sequence)) != Put::Full);
                    newest.insert(topic, sequence);
                }
                prop_assert!(queue.waiting.len() <= MAX_WAITING + 8);
                if takes {
                    taken.extend(queue.take());
                }
            }
            while !queue.waiting.is_empty() {
                taken.extend(queue.take());
            }
            for (topic, newest) in newest {
                let own: Vec<u64> = taken.iter().filter(|m| m.topic == format!("t{topic}")).map(|m| m.origin.sequence).collect();
                prop_assert!(own.is_sorted());
                prop_assert_eq!(own.last(), Some(&newest));
            }
        }
    }
}
