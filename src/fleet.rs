//! Subscribe nodes as processes of this machine, for `--autoscale`. They take this process's environment and settings file.

use std::{
    io,
    net::IpAddr,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};
use tifo_mqtt_gateway::Fleet;

/// How long a child may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const STOP_POLL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct LocalFleet {
    /// Where the children listen, each on a port of its own.
    host: IpAddr,
    /// At most `autoscale`'s upper bound, and those that drain.
    children: Mutex<Vec<Child>>,
}

impl LocalFleet {
    pub fn new(host: IpAddr) -> Self {
        Self { host, children: Mutex::default() }
    }

    fn children(&self) -> std::sync::MutexGuard<'_, Vec<Child>> {
        self.children.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Fleet for LocalFleet {
    fn start(&self, upstream: &str, cluster: &str) -> io::Result<()> {
        let listen = std::net::SocketAddr::from((self.host, 0)).to_string();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--roles", "mqtt", "--mqtt-role", "subscribe", "--upstream", upstream]);
        command.args(["--cluster", cluster, "--mqtt", &listen]).env("TIFO_MQTT__WEBSOCKET_LISTEN", &listen);
        // What holds for this node alone is not for its followers.
        for own in [
            "TIFO_MQTT__NODE",
            "TIFO_MQTT__AUTOSCALE",
            "TIFO_MQTT__DOWNSTREAM",
            "TIFO_MQTT__ADVERTISE",
            "TIFO_MQTT__ADVERTISE_WEBSOCKET",
        ] {
            command.env_remove(own);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        tracing::info!(pid = child.id(), "a subscribe node is starting");
        self.children().push(child);
        Ok(())
    }

    fn reap(&self) {
        self.children().retain_mut(|child| match child.try_wait() {
            Ok(Some(status)) => {
                tracing::info!(pid = child.id(), %status, "a subscribe node has ended");
                false
            }
            Ok(None) => true,
            Err(error) => {
                tracing::warn!(pid = child.id(), %error, "a subscribe node cannot be looked at");
                true
            }
        });
    }

    fn stop(&self) {
        let mut children = std::mem::take(&mut *self.children());
        for child in &children {
            let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                // One that has ended already is waited for below.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline && !children.is_empty() {
            children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            std::thread::sleep(STOP_POLL);
        }
        for mut child in children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
