//! A minute of made-up requests (half a minute on each of two threads): every API in every version, and record batches.
//!
//! The same doors, broker and memory count as the targets in `fuzz/`, which go on for hours; here a seeded mutator stands in for libFuzzer, so that
//! it needs nothing but `cargo test`. First come the killers that are known. What fails is printed in hexadecimal, with the seed.
//! `TIFO_FUZZ_SECONDS` and `TIFO_SEED` set how long and from where.
#![allow(clippy::unwrap_used)]

#[path = "../../../fuzz/src/batches.rs"]
mod batches;
mod golden_file;
#[allow(dead_code, reason = "the fuzz targets use all of it")]
#[path = "../../../fuzz/src/house.rs"]
mod house;
#[allow(unsafe_code, reason = "an allocator that counts")]
#[path = "../../../fuzz/src/memory.rs"]
mod memory;
#[path = "../../../fuzz/src/mutator.rs"]
mod mutator;

use bytes::Bytes;
use house::House;
use mutator::Mutator;
use std::{
    fmt::Write,
    fs, panic,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tifo_broker::fuzzing;
use tifo_storage::record_batch::{BatchBuilder, Compression};

const SECONDS: u64 = 30;
const THREADS: u64 = 2;
/// Most processor time that one frame may take from the thread that serves everybody, in a build without optimization.
const MOST_CPU: Duration = Duration::from_millis(500);
/// Every API and version gets at least so many, however slow the machine.
const LEAST_ROUNDS: usize = 3;
/// A frame is not shown beyond this.
const SHOWN_BYTES: usize = 4096;
/// More than the house lets a batch unpack to.
const BOMB_BYTES: usize = 16 << 20;
/// Where the records of a batch begin, and its attributes are.
const RECORDS: usize = 61;
const ATTRIBUTES: usize = 22;
const SNAPPY: u8 = 2;

/// Panics anywhere in the process: those of a task do not reach who asked.
static PANICS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_minute_of_made_up_requests() {
    let seed = number("TIFO_SEED").unwrap_or_else(|| {
        u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() & u128::from(u64::MAX)).unwrap()
    });
    let time = Duration::from_secs(number("TIFO_FUZZ_SECONDS").unwrap_or(SECONDS));
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        usual(info);
    }));
    let fuzz = |thread| move || Fuzzer::new(seed.wrapping_add(thread)).run(time);
    let threads: Vec<_> = (0..THREADS).map(|thread| thread::spawn(fuzz(thread))).collect();
    let rounds: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap_or(0)).collect();
    assert!(rounds.iter().all(|rounds| *rounds >= LEAST_ROUNDS), "TIFO_SEED={seed}: rounds {rounds:?}");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

struct Fuzzer {
    random: Mutator,
    house: House,
    /// Requests that Kafka's clients could send, by API.
    recorded: Vec<Vec<u8>>,
    batches: Vec<Vec<u8>>,
}

impl Fuzzer {
    fn new(seed: u64) -> Self {
        let steps =
            golden_file::all().into_iter().flat_map(|file| golden_file::parse(&fs::read_to_string(file).unwrap()));
        let recorded = steps.map(|step| step.request).filter(|request| request.len() > 8).collect();
        Self { random: Mutator::new(seed), house: House::build(), recorded, batches: record_batches() }
    }

    /// How often each API and version came.
    fn run(mut self, time: Duration) -> usize {
        let began = Instant::now();
        killers().into_iter().for_each(|frame| self.ask(frame));
        self.batches.clone().into_iter().for_each(|batch| self.append(batch));
        let mut rounds = 0;
        while rounds < LEAST_ROUNDS || began.elapsed() < time {
            for (key, version) in fuzzing::every_version() {
                let frame = self.make_up(key, version);
                self.ask(frame);
            }
            for index in 0..self.batches.len() {
                let mut batch = self.batches[index].clone();
                self.random.change(&mut batch, 0);
                self.append(batch);
            }
            rounds += 1;
        }
        assert!(self.house.lives(), "the broker makes no topic any more");
        rounds
    }

    /// A frame of that API and version, whole or changed in a few places.
    fn make_up(&mut self, key: i16, version: i16) -> Vec<u8> {
        let of_api: Vec<_> = self.recorded.iter().filter(|frame| frame[..2] == key.to_be_bytes()).collect();
        let mut frame = match of_api.len() {
            0 => Vec::new(),
            count => of_api[self.random.index(count)].clone(),
        };
        if frame.is_empty() || self.random.below(2) == 0 {
            frame = fuzzing::well_formed(key, version, &mut || self.random.next());
        }
        frame[2..4].copy_from_slice(&version.to_be_bytes());
        self.random.change(&mut frame, 8);
        frame
    }

    fn ask(&mut self, mut frame: Vec<u8>) {
        fuzzing::aim(&mut frame, None);
        let frame = Bytes::from(frame);
        let (limit, allocated) = memory::allocated_by(|| fuzzing::decode(&frame));
        assert!(allocated <= limit + memory::SLACK, "decodes to {allocated} bytes: {}", shown(&frame));
        self.knock(frame);
    }

    fn append(&mut self, batch: Vec<u8>) {
        if let Some(frame) = batches::produce(batch) {
            self.knock(frame);
        }
    }

    /// The house has one thread: as long as a frame works on it, all others wait.
    fn knock(&mut self, frame: Bytes) {
        let before = cpu_time();
        self.house.knock(frame.clone());
        let used = cpu_time().saturating_sub(before);
        assert_eq!(PANICS.load(Ordering::SeqCst), 0, "a panic, at this frame or shortly before: {}", shown(&frame));
        assert!(used < MOST_CPU, "others wait for {used:?} of work on this frame: {}", shown(&frame));
    }
}

/// Of this thread. A busy machine does not add to it.
fn cpu_time() -> Duration {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedstat.split_whitespace().next().unwrap().parse().unwrap())
}

fn shown(frame: &[u8]) -> String {
    frame.iter().take(SHOWN_BYTES).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bodies that have brought decoders down: array lengths far beyond what follows, and the shortest elements there are.
fn killers() -> Vec<Vec<u8>> {
    const METADATA_0: &[u8] = &[0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let many = [&100_000_u32.to_be_bytes()[..], &[0; 200_000]].concat();
    let bodies = [&[0x7f, 0xff, 0xff, 0xff, 0x00][..], &[0x03, 0x3c, 0x0c, 0x00, 0xb6][..], &many];
    bodies.iter().map(|body| [METADATA_0, body].concat()).collect()
}

/// One of each codec, a snappy claim of 2 GiB in six bytes, and a gzip bomb.
fn record_batches() -> Vec<Vec<u8>> {
    let batch = |compression, value: &[u8]| {
        let mut builder = BatchBuilder::new(compression);
        (0..3).for_each(|_| builder.push(1_800_000_000_000, Some(b"key"), Some(value), &[]));
        builder.build().to_vec()
    };
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let mut batches: Vec<_> = codecs.into_iter().map(|codec| batch(codec, b"value")).collect();
    let mut claim = batch(Compression::None, b"value");
    claim.truncate(RECORDS);
    claim.extend([0xff, 0xff, 0xff, 0xff, 0x07, 0x00]);
    claim[ATTRIBUTES] = SNAPPY;
    batches.push(claim);
    batches.push(batch(Compression::Gzip, &vec![0; BOMB_BYTES]));
    batches
}
