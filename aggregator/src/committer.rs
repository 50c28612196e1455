//! Commits source offsets to an ordinary group after each decision, so that stock tools show the lag.
//!
//! Beside the way of the rows: nobody waits for it, only the newest offsets count, a failure is only logged.
//! Recovery does not depend on it.

use std::sync::Arc;
use tifo_broker::LogClient;
use tokio::{sync::watch, task::JoinHandle};

type Offsets = Vec<(i32, i64)>;

#[derive(Debug)]
pub struct Committer {
    newest: watch::Sender<Offsets>,
    task: JoinHandle<()>,
}

impl Committer {
    pub fn start(client: Arc<dyn LogClient>, group: String, topic: String) -> Self {
        let (newest, receiver) = watch::channel(Offsets::new());
        Self { newest, task: tokio::spawn(run(client, group, topic, receiver)) }
    }

    pub fn commit(&self, offsets: Offsets) {
        self.newest.send_replace(offsets);
    }

    /// Ends after the newest offsets have been tried.
    pub async fn stop(self) {
        drop(self.newest);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the committer ended badly");
        }
    }
}

async fn run(client: Arc<dyn LogClient>, group: String, topic: String, mut newest: watch::Receiver<Offsets>) {
    while newest.changed().await.is_ok() {
        let offsets = newest.borrow_and_update().clone();
        if let Err(error) = client.commit(&group, &topic, &offsets).await {
            tracing::warn!(group, topic, %error, "source offsets could not be committed");
        }
    }
}
