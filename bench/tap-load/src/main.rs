//! tap-load: taps over HTTP at a stated rate, and a subscriber that times what comes back over MQTT.
//!
//! Job: measure one running server from outside and print one JSON line. Bulk taps keep the windows full; every *probe* is a single tap in a
//! channel of its own, so the message of that channel is the window that contains it, beyond doubt. Bulk goes on after the last probe until
//! the windows of all probes have closed under load, not by an idle time-out.
//! Place: `bench/run` starts it; it knows nothing of the server but the two addresses.
//! It must never retry a refused tap: refusals are part of the result.

mod event;
mod http;
mod mqtt;
mod options;
mod report;
mod websocket;

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use options::Options;

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Probes start after the first windows have closed, so that no start-up cost is measured.
const WARM_UP: Duration = Duration::from_secs(3);
/// Bulk goes on this long after the last probe.
const COOL_DOWN: Duration = Duration::from_secs(4);
/// The longest wait for the last windows after the load has ended.
const LAST_WINDOWS: Duration = Duration::from_secs(20);
/// Probe period in excess of the stated one, so that probes drift through the phase of the windows.
const DRIFT: f64 = 1.0137;

#[derive(Default)]
pub struct Counters {
    pub accepted: AtomicU64,
    pub refused: AtomicU64,
}

/// What the posting threads leave for the report.
#[derive(Default)]
pub struct Sent {
    pub probes: Mutex<HashMap<String, Instant>>,
    pub post_times: Mutex<Vec<Duration>>,
    pub counters: Counters,
}

fn main() -> Result<()> {
    let options = Arc::new(Options::from_args()?);
    let arrivals = mqtt::subscribe(&options, "streams/emoji/#")?;
    let sent = Arc::new(Sent::default());
    let start = Instant::now();
    let cpu_before = report::cpu_seconds(options.server_pid);

    let mut threads = Vec::new();
    for lane in 0..options.connections {
        let (options, sent) = (options.clone(), sent.clone());
        threads.push(thread::spawn(move || post_bulk(&options, &sent, lane, start)));
    }
    let prober = {
        let (options, sent) = (options.clone(), sent.clone());
        thread::spawn(move || post_probes(&options, &sent, start))
    };
    for thread in threads.into_iter().chain([prober]) {
        thread.join().map_err(|_| "a posting thread panicked")??;
    }
    let load_time = start.elapsed();
    let cpu_under_load = report::cpu_seconds(options.server_pid) - cpu_before;
    await_last_windows(&sent, &arrivals);
    let cpu_in_all = report::cpu_seconds(options.server_pid) - cpu_before;
    report::print(
        &options,
        &sent,
        &arrivals.lock().map_err(|_| "poisoned")?,
        &report::Spans { start, load_time, cpu_under_load, cpu_in_all },
    );
    std::process::exit(0)
}

fn bulk_time(options: &Options) -> Duration {
    WARM_UP + options.seconds + COOL_DOWN
}

/// One connection's share of the bulk: every lane sends a request in its turn, and all lanes together make up the rate.
fn post_bulk(options: &Options, sent: &Sent, lane: u32, start: Instant) -> Result<()> {
    let mut connection = http::Connection::open(&options.http)?;
    let path = format!("/v1/streams/emoji/events?ack={}", options.ack);
    let period =
        Duration::from_secs_f64(f64::from(options.batch) * f64::from(options.connections) / f64::from(options.rate));
    let mut events = event::Source::new(u64::from(lane) + 1, options.channels, options.reactions);
    let mut due = start + period.mul_f64(f64::from(lane) / f64::from(options.connections));
    let end = start + bulk_time(options);
    let mut times = Vec::new();
    while due < end {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += period;
        let body = events.lines(options.batch);
        let asked = Instant::now();
        let status = connection.post(&path, "application/x-ndjson", body)?;
        times.push(asked.elapsed());
        count(&sent.counters, status, u64::from(options.batch));
    }
    sent.post_times.lock().map_err(|_| "poisoned")?.append(&mut times);
    Ok(())
}

fn post_probes(options: &Options, sent: &Sent, start: Instant) -> Result<()> {
    let mut connection = http::Connection::open(&options.http)?;
    let path = format!("/v1/streams/emoji/events?ack={}", options.ack);
    let mut events = event::Source::new(0x9e37_79b9, 1, options.reactions);
    let period = Duration::from_secs_f64(DRIFT / f64::from(options.probe_rate));
    let mut due = start + WARM_UP;
    let end = due + options.seconds;
    for number in 0.. {
        if due >= end {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += period;
        let channel = format!("probe-{number}");
        sent.probes.lock().map_err(|_| "poisoned")?.insert(channel.clone(), Instant::now());
        let status = connection.post(&path, "application/json", events.one(&channel))?;
        count(&sent.counters, status, 1);
        if !(200..300).contains(&status) {
            sent.probes.lock().map_err(|_| "poisoned")?.remove(&channel);
        }
    }
    Ok(())
}

fn count(counters: &Counters, status: u16, events: u64) {
    let counter = if (200..300).contains(&status) { &counters.accepted } else { &counters.refused };
    counter.fetch_add(events, Ordering::Relaxed);
}

/// Returns when every accepted tap has been seen in a window, or after [`LAST_WINDOWS`].
fn await_last_windows(sent: &Sent, arrivals: &Mutex<Vec<mqtt::Arrival>>) {
    let deadline = Instant::now() + LAST_WINDOWS;
    let accepted = sent.counters.accepted.load(Ordering::Relaxed);
    while Instant::now() < deadline {
        let delivered = arrivals.lock().map_or(0, |list| report::delivered_total(&list));
        if delivered >= accepted {
            return;
        }
        thread::sleep(Duration::from_millis(200));
    }
}
