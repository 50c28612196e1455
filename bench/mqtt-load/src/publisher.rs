//! Publishes on a schedule, from a thread of its own, so that a busy crowd does not delay it.
//!
//! Every message bears the time at which it was *due*: a server that holds its publisher back is not forgiven the wait.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::Result;
use crate::options::Options;
use crate::packet;

const CONNACK_BYTES: usize = 4;
const SECOND_NS: u64 = 1_000_000_000;

#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    pub rate: u64,
    pub messages: u64,
    pub payload_bytes: usize,
}

/// The machine's monotonic clock, the same in all processes.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * SECOND_NS + u64::try_from(now.tv_nsec).unwrap_or(0)
}

pub fn start(options: &Options, schedule: Schedule) -> Result<JoinHandle<std::io::Result<()>>> {
    let mut stream = TcpStream::connect(options.publish_to)?;
    stream.set_nodelay(true)?;
    stream.write_all(&packet::connect(&format!("publisher-{}", options.number)))?;
    let mut answer = [0; CONNACK_BYTES];
    stream.read_exact(&mut answer)?;
    if answer[3] != 0 {
        return Err(format!("the publisher was answered {answer:?}").into());
    }
    let topic = options.topic.clone();
    Ok(thread::spawn(move || publish(&mut stream, &topic, schedule)))
}

fn publish(stream: &mut TcpStream, topic: &str, schedule: Schedule) -> std::io::Result<()> {
    let begin = now_ns();
    for number in 0..schedule.messages {
        let due = begin + number * SECOND_NS / schedule.rate;
        thread::sleep(Duration::from_nanos(due.saturating_sub(now_ns())));
        stream.write_all(&packet::publish(topic, due, schedule.payload_bytes))?;
    }
    Ok(())
}
