//! From what was sent and what arrived to one JSON line.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::mqtt::Arrival;
use crate::options::Options;
use crate::{COOL_DOWN, Sent, WARM_UP};

/// Linux reports CPU time to user space in hundredths of a second on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

pub struct Spans {
    pub start: Instant,
    pub load_time: Duration,
    pub cpu_under_load: f64,
    pub cpu_in_all: f64,
}

/// User plus system time of a process so far; 0 without a process to watch.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

/// Taps counted in the newest message of each window and channel: a revision replaces, a repetition adds nothing.
pub fn delivered_total(arrivals: &[Arrival]) -> u64 {
    let newest: HashMap<(&str, i64), u64> =
        arrivals.iter().map(|a| ((a.channel.as_str(), a.window_start), a.total)).collect();
    newest.values().sum()
}

pub fn print(options: &Options, sent: &Sent, arrivals: &[Arrival], spans: &Spans) {
    let accepted = sent.counters.accepted.load(Ordering::Relaxed);
    let probes = sent.probes.lock().map(|map| map.clone()).unwrap_or_default();
    let tap_to_mqtt = probe_times(&probes, arrivals);
    let under_load = window_times(arrivals, spans);
    let posts = sent.post_times.lock().map(|list| list.iter().map(|time| ms(*time)).collect()).unwrap_or_default();
    let line = json!({
        "ack": options.ack,
        "rate_asked": options.rate,
        "rate": accepted as f64 / spans.load_time.as_secs_f64(),
        "accepted": accepted,
        "refused": sent.counters.refused.load(Ordering::Relaxed),
        "delivered_total": delivered_total(arrivals),
        "messages": arrivals.len(),
        "probes_sent": probes.len(),
        "probes_seen": tap_to_mqtt.len(),
        "tap_to_mqtt_ms": quantiles(tap_to_mqtt),
        "window_end_to_mqtt_ms": quantiles(under_load),
        "post_ms": quantiles(posts),
        "cpu_seconds": spans.cpu_under_load,
        "cpu_seconds_per_million": spans.cpu_in_all * 1e6 / accepted.max(1) as f64,
    });
    println!("{line}");
}

/// From the moment before a probe's request to the arrival of the first message of its channel.
fn probe_times(probes: &HashMap<String, Instant>, arrivals: &[Arrival]) -> Vec<f64> {
    let mut first: HashMap<&str, Instant> = HashMap::new();
    for arrival in arrivals {
        first.entry(&arrival.channel).or_insert(arrival.at);
    }
    probes
        .iter()
        .filter_map(|(channel, tap)| first.get(channel.as_str()).map(|at| ms(at.saturating_duration_since(*tap))))
        .collect()
}

/// Window end to arrival, for the windows that both opened and were due while the load ran steadily.
fn window_times(arrivals: &[Arrival], spans: &Spans) -> Vec<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start = now.saturating_sub(spans.start.elapsed());
    let (from, to) = (whole_ms(start + WARM_UP), whole_ms((start + spans.load_time).saturating_sub(COOL_DOWN / 2)));
    let steady = arrivals.iter().filter(|a| a.window_start >= from && a.window_end <= to);
    steady.map(|a| (a.wall_ms - a.window_end) as f64).collect()
}

fn quantiles(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |q: f64| values.get(((values.len().max(1) - 1) as f64 * q) as usize).copied();
    json!({"count": values.len(), "p50": at(0.5), "p99": at(0.99), "max": values.last()})
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn whole_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
