//! The broker under test: a real one, on a directory of its own, built anew now and then so that it does not fill up.

use crate::batches::TOPIC;
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Mutex, time::Duration};
use tempfile::TempDir;
use tifo_broker::{Broker, BrokerConfig, Clock, LogClient, client::TopicSpec, fuzzing::Door};
use tokio::runtime::{Builder, Runtime};

/// Frames that one broker gets.
const FRAMES: usize = 5000;
/// Bombs are to be refused, not waited for.
const MAX_DECOMPRESSED: usize = 8 << 20;
/// How long a frame may wait for its answer (a long poll, a rebalance) before its client is gone.
const PATIENCE: Duration = Duration::from_millis(2);

pub struct House {
    runtime: Runtime,
    broker: Option<Broker>,
    door: Door,
    frames: usize,
    _dir: TempDir,
}

/// Stays until the process is gone: `fuzz/run` removes what it leaves on disk.
static HOUSE: Mutex<Option<House>> = Mutex::new(None);

impl House {
    /// The house of this process.
    pub fn with<T>(work: impl FnOnce(&mut House) -> T) -> T {
        let mut house = HOUSE.lock().expect("a panic ends the process");
        work(house.get_or_insert_with(House::build))
    }

    pub fn build() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let dir = TempDir::new().expect("a temporary directory");
        let config = BrokerConfig::new(dir.path())
            .with("listeners", "127.0.0.1:0")
            .with("max.decompressed.message.bytes", MAX_DECOMPRESSED);
        let broker = runtime.block_on(Broker::start(config, Clock::system())).expect("a broker");
        let topic = TopicSpec { name: TOPIC.to_owned(), partitions: 1, settings: BTreeMap::new() };
        runtime.block_on(broker.client().ensure_topic(&topic)).expect("a topic");
        let door = Door::new(&broker);
        Self { runtime, broker: Some(broker), door, frames: 0, _dir: dir }
    }

    /// Whether there was an answer.
    pub fn knock(&mut self, frame: Bytes) -> bool {
        if self.frames >= FRAMES {
            *self = Self::build();
        }
        self.frames += 1;
        self.runtime.block_on(self.door.knock(frame, PATIENCE))
    }

    /// Whether a topic can be had, as ever.
    pub fn lives(&self) -> bool {
        let topic = TopicSpec { name: "afterwards".to_owned(), partitions: 1, settings: BTreeMap::new() };
        let broker = self.broker.as_ref().expect("until it is dropped");
        self.runtime.block_on(broker.client().ensure_topic(&topic)).is_ok()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            self.runtime.block_on(broker.shutdown());
        }
    }
}
