//! `tifo replay`: sends recorded events to a running tifo, in order, with their original gaps.
//!
//! recording (a thread reads the file) -> pacing (each event when it is due) -> lanes (batch what is due, send, repeat
//! until answered). A lane has one request on the way, so nothing overtakes; a partition belongs to one lane, so a
//! partition of the log has the order of the file. With `--ack committed` each lane numbers its events as an idempotent
//! producer (docs/http.md), so a repetition never stores anything twice, even if the server was killed meanwhile.

mod lane;
mod pace;
mod recording;
mod server;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tifo_broker::clock::Clock;
use tifo_http_gateway::{murmur2, partition_of};
use tokio::{sync::mpsc, task::JoinSet};

use lane::{Lane, Report};
use pace::Pace;
use recording::Rewrite;
use server::{Server, StreamInfo};

/// Lines read ahead of their time.
const READ_AHEAD_LINES: usize = 4096;
/// Events that are due and wait for their lane.
const WAITING_EVENTS: usize = 20_000;
const TICK: Duration = Duration::from_millis(100);

/// Flags of `tifo replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Recorded events, one JSON object a line, in order of time; `.gz` is unpacked
    pub file: PathBuf,
    /// Address of the HTTP gateway, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// How many times faster than recorded
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = parse_speed)]
    pub speed: f64,
    /// The stream to send to
    #[arg(long, value_name = "NAME", default_value = "emoji")]
    pub stream: String,
    /// When a request counts as done: once it is buffered, or once the log has it
    #[arg(long, value_enum, default_value_t = AckMode::Committed)]
    pub ack: AckMode,
    /// Connections side by side; each has partitions of its own
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub connections: u16,
    /// Begin again at the end, until Ctrl-C; implies --now, and gives each round message ids of its own
    #[arg(long = "loop")]
    pub endless: bool,
    /// Rewrite the timestamps, as if the events happened now
    #[arg(long)]
    pub now: bool,
    /// Vary each gap at random, between half and one and a half times its length
    #[arg(long)]
    pub jitter: bool,
    /// Give up when the server has taken nothing for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub patience: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AckMode {
    Buffered,
    Committed,
}

/// What a replay did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Summary {
    pub report: Report,
    pub duration: Duration,
}

/// Runs to the end (or Ctrl-C) and prints the summary; an error if anything was refused.
pub fn run(args: ReplayArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the async runtime")?;
    let summary = runtime.block_on(replay(args))?;
    println!("{summary}");
    match summary.report.refused {
        0 => Ok(()),
        refused => bail!("{refused} events were refused; the first: {}", summary.report.first_refusal),
    }
}

/// The engine: sends every event of the file and returns when all are answered.
pub async fn replay(args: ReplayArgs) -> anyhow::Result<Summary> {
    let overview = recording::survey(&args.file)?;
    let server = Arc::new(Server::new(&args)?);
    let stream = server.find_stream().await?;
    let bar = progress_bar(&args, overview.events);
    let began = Instant::now();
    let mut lanes = Lanes::open(&args, &server, stream, &bar);
    let ticking = tokio::spawn(tick(bar.clone()));
    // An end of the lanes before the end of the file is theirs to explain.
    tokio::select! {
        paced = pace_all(&args, &mut lanes.entrances) => paced?,
        _ = tokio::signal::ctrl_c() => bar.println("stopping: waiting for what is on the way"),
    }
    let report = lanes.close().await;
    ticking.abort();
    bar.finish_and_clear();
    Ok(Summary { report: report?, duration: began.elapsed() })
}

/// Gives each event to its lane when it is due. Ends early if a lane has ended.
async fn pace_all(args: &ReplayArgs, entrances: &mut Entrances) -> anyhow::Result<()> {
    let (lines, mut due) = mpsc::channel(READ_AHEAD_LINES);
    let (file, endless) = (args.file.clone(), args.endless);
    let reading = tokio::task::spawn_blocking(move || recording::read(&file, endless, &lines));
    let live = args.now || args.endless;
    let clock = Clock::system();
    let mut pace = Pace::new(args.speed, args.jitter, live, tokio::time::Instant::now(), clock.now_ms());
    while let Some(line) = due.recv().await {
        let moment = pace.next(line.timestamp_ms, line.round, tokio::time::Instant::now());
        tokio::time::sleep_until(moment.due).await;
        let text = match live {
            true => line.rewritten(&Rewrite { timestamp_ms: moment.event_time_ms }),
            false => line.text,
        };
        if !entrances.admit(text).await {
            return Ok(());
        }
    }
    reading.await.context("the reader of the file")?
}

/// The senders and the way to them.
struct Lanes {
    entrances: Entrances,
    running: JoinSet<anyhow::Result<Report>>,
}

struct Entrances {
    stream: StreamInfo,
    lanes: Vec<mpsc::Sender<String>>,
}

impl Lanes {
    fn open(args: &ReplayArgs, server: &Arc<Server>, stream: StreamInfo, bar: &ProgressBar) -> Self {
        let mut running = JoinSet::new();
        let count = usize::from(args.connections).min(usize::try_from(stream.partitions).unwrap_or(1)).max(1);
        let mut lanes = Vec::with_capacity(count);
        for _ in 0..count {
            let (entrance, waiting) = mpsc::channel(WAITING_EVENTS / count);
            running.spawn(Lane::new(server.clone(), args.ack, bar.clone()).run(waiting));
            lanes.push(entrance);
        }
        Self { entrances: Entrances { stream, lanes }, running }
    }

    /// No more events: waits until what the lanes have is answered.
    async fn close(mut self) -> anyhow::Result<Report> {
        drop(self.entrances);
        let mut total = Report::default();
        while let Some(ended) = self.running.join_next().await {
            total.add(ended.context("a sender")??);
        }
        Ok(total)
    }
}

impl Entrances {
    /// False: the lane has ended.
    async fn admit(&self, text: String) -> bool {
        let lane = match self.lanes.len() {
            1 => 0,
            count => {
                let partition = partition_of(murmur2(self.stream.key(&text).as_bytes()), self.stream.partitions);
                usize::try_from(partition).unwrap_or(0) % count
            }
        };
        match self.lanes.get(lane) {
            Some(entrance) => entrance.send(text).await.is_ok(),
            None => false,
        }
    }
}

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed > 0.0 => Ok(speed),
        _ => Err("a number above 0, such as 1, 0.5 or 600".to_owned()),
    }
}

/// Drawn on standard error, and only if that is a terminal.
fn progress_bar(args: &ReplayArgs, events: u64) -> ProgressBar {
    let (bar, template) = match args.endless {
        true => (ProgressBar::new_spinner(), "{spinner} {pos} events  {per_sec}  {wide_msg}"),
        false => (ProgressBar::new(events), "{bar:30} {pos}/{len} events  {per_sec}  {eta} left  {wide_msg}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

async fn tick(bar: ProgressBar) {
    let mut due = tokio::time::interval(TICK);
    loop {
        due.tick().await;
        bar.tick();
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Report { sent, repeated, refused, ambiguous, .. } = &self.report;
        let seconds = self.duration.as_secs_f64();
        let rate = u32::try_from(*sent).map_or(f64::MAX, f64::from) / seconds.max(0.001);
        write!(
            formatter,
            "sent {sent} events in {seconds:.1} s ({rate:.0} events/s), {repeated} requests repeated, {refused} events refused"
        )?;
        match ambiguous {
            0 => Ok(()),
            ambiguous => write!(
                formatter,
                "; {ambiguous} events may be stored twice (an answer was lost; --ack committed avoids this)"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
