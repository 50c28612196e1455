//! mqtt-load: a crowd of MQTT 3.1.1 subscribers in one process, over TCP or WebSocket, that times every message.
//!
//! Job: connect `--connections` subscribers, say so, then do what standard input asks, one line each, answered by one JSON line:
//!
//! | command | |
//! |---|---|
//! | `publish RATE SECONDS BYTES` | publishes, waits until everybody has everything, reports |
//! | `clear` | forgets what was seen |
//! | `report MESSAGES` | what was seen since, of so many messages |
//! | `arrivals` | with `--keep yes`: a mark of each payload seen, and when |
//! | `stall` | the first `--stalled` subscribers stop reading |
//!
//! Place: `bench/run` starts it, one process for up to 19,000 connections; it knows nothing of the server but the address.
//! It must never connect again: who is closed by the server is counted.

mod connection;
mod crowd;
mod figures;
mod options;
mod packet;
mod publisher;

use std::error::Error;
use std::io::{BufRead, stdin};
use std::time::Duration;

use crowd::Crowd;
use options::Options;
use publisher::{Schedule, now_ns};
use serde_json::{Value, json};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const GATHER: Duration = Duration::from_secs(300);
/// The longest wait for the last deliveries after the last message was sent.
const LAST_DELIVERIES: Duration = Duration::from_secs(15);
/// No delivery for so long: nothing of an earlier load is on its way any more.
const QUIET: Duration = Duration::from_millis(300);
const IDLE_TURN: Duration = Duration::from_secs(1);
const TURN: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    let options = Options::from_args()?;
    let mut crowd = Crowd::new(options.clone(), stdin())?;
    let begin = now_ns();
    crowd.gather(begin + nanos(GATHER))?;
    say(&crowd, json!({"subscribed": crowd.subscribed, "seconds": (now_ns() - begin) as f64 / 1e9}));
    let mut line = String::new();
    loop {
        if !crowd.turn(IDLE_TURN)? {
            continue;
        }
        line.clear();
        if stdin().lock().read_line(&mut line)? == 0 {
            return Ok(());
        }
        let answer = obey(&mut crowd, &options, &line.split_whitespace().collect::<Vec<_>>())?;
        say(&crowd, answer);
    }
}

fn obey(crowd: &mut Crowd, options: &Options, command: &[&str]) -> Result<Value> {
    match command {
        ["publish", rate, seconds, bytes] => {
            let (rate, seconds): (u64, u64) = (rate.parse()?, seconds.parse()?);
            publish(crowd, options, Schedule { rate, messages: rate * seconds, payload_bytes: bytes.parse()? })
        }
        ["clear"] => {
            crowd.deliveries.clear();
            Ok(json!({}))
        }
        ["report", messages] => {
            let expected = messages.parse::<u64>()? * crowd.subscribed as u64;
            Ok(crowd.deliveries.report(expected))
        }
        ["arrivals"] => Ok(json!({ "arrivals": std::mem::take(&mut crowd.arrivals) })),
        ["stall"] => {
            crowd.stall()?;
            crowd.subscribed -= options.stalled;
            Ok(json!({}))
        }
        _ => Err(format!("unknown command: {command:?}").into()),
    }
}

fn publish(crowd: &mut Crowd, options: &Options, schedule: Schedule) -> Result<Value> {
    drain(crowd)?;
    let expected = schedule.messages * crowd.subscribed as u64;
    let publisher = publisher::start(options, schedule)?;
    while !publisher.is_finished() {
        crowd.turn(TURN)?;
    }
    publisher.join().map_err(|_| "the publisher panicked")??;
    let deadline = now_ns() + nanos(LAST_DELIVERIES);
    while crowd.deliveries.count() < expected && now_ns() < deadline {
        crowd.turn(TURN)?;
    }
    Ok(crowd.deliveries.report(expected))
}

/// Until what a slow server still sends from before has come, as far as it comes at all.
fn drain(crowd: &mut Crowd) -> Result<()> {
    let deadline = now_ns() + nanos(LAST_DELIVERIES);
    loop {
        crowd.deliveries.clear();
        let quiet = now_ns() + nanos(QUIET);
        while now_ns() < quiet {
            crowd.turn(TURN)?;
        }
        if crowd.deliveries.count() == 0 || now_ns() > deadline {
            crowd.deliveries.clear();
            return Ok(());
        }
    }
}

/// Every answer says how many subscribers the server has closed so far.
fn say(crowd: &Crowd, mut answer: Value) {
    answer["closed"] = crowd.closed.into();
    println!("{answer}");
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
