//! `tifo log check` and `tifo log repair`: finds the partitions, keeps brokers out, prints what storage says.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::{path::Path, process::ExitCode, sync::Arc};
use tifo_broker::{Clock, DataDirLock};
use tifo_storage::{
    check::{PartitionReport, Repaired, Severity, check_partition, partition_dirs, repair_partition},
    file_system::{FileSystem, RealFileSystem},
};

use crate::cli::LogCommand;

/// Exit codes beside 0 (all right) and 1 (could not run).
const ONLY_HARMLESS: u8 = 3;
const DAMAGE: u8 = 4;

/// One partition: what was found, and what was done about it.
struct Outcome {
    found: PartitionReport,
    repaired: Option<Repaired>,
}

impl Outcome {
    /// What there is now.
    fn now(&self) -> &PartitionReport {
        self.repaired.as_ref().map_or(&self.found, |repaired| &repaired.after)
    }

    fn severity(&self) -> Severity {
        self.now().severity().unwrap_or(Severity::Note)
    }
}

pub fn run(command: &LogCommand) -> anyhow::Result<ExitCode> {
    let (args, repair) = match command {
        LogCommand::Check(args) => (args, false),
        LogCommand::Repair(args) => (args, true),
    };
    let _locks = keep_brokers_out(&args.dir)?;
    let file_system: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
    let dirs = partition_dirs(&*file_system, &args.dir)?;
    if dirs.is_empty() {
        bail!("{} holds no partition: name a data directory, or the directory of one partition", args.dir.display());
    }
    let now_ms = Clock::system().now_ms();
    let mut outcomes = Vec::with_capacity(dirs.len());
    for dir in &dirs {
        let outcome = look_at(&file_system, dir, repair, now_ms).with_context(|| dir.display().to_string())?;
        if !args.json {
            print!("{}", told(&outcome));
        }
        outcomes.push(outcome);
    }
    print!("{}", if args.json { as_json(&outcomes) } else { summary(&outcomes) });
    Ok(exit_code(&outcomes))
}

/// The directory itself may be a partition's: then the data directory is the one above.
fn keep_brokers_out(dir: &Path) -> anyhow::Result<Vec<DataDirLock>> {
    let dir = dir.canonicalize().with_context(|| dir.display().to_string())?;
    let places = [Some(dir.as_path()), dir.parent()].into_iter().flatten();
    places.map(|place| Ok(DataDirLock::take(place)?)).collect()
}

fn look_at(file_system: &Arc<dyn FileSystem>, dir: &Path, repair: bool, now_ms: i64) -> anyhow::Result<Outcome> {
    if !repair {
        return Ok(Outcome { found: check_partition(file_system, dir)?, repaired: None });
    }
    let repaired = repair_partition(file_system, dir, now_ms)?;
    Ok(Outcome { found: repaired.before.clone(), repaired: Some(repaired) })
}

fn exit_code(outcomes: &[Outcome]) -> ExitCode {
    match outcomes.iter().map(Outcome::severity).max() {
        Some(Severity::Damage) => ExitCode::from(DAMAGE),
        Some(Severity::Harmless) => ExitCode::from(ONLY_HARMLESS),
        _ => ExitCode::SUCCESS,
    }
}

fn told(outcome: &Outcome) -> String {
    let now = outcome.now();
    let (from, to) = now.offsets;
    let mut out = format!(
        "{}: {} segments, {} records, offsets from {from} up to {to}",
        now.dir.display(),
        now.segments,
        now.records
    );
    out += if outcome.found.findings.is_empty() { ": all right\n" } else { "\n" };
    for finding in &outcome.found.findings {
        let place = finding.position.map_or(String::new(), |position| format!(" at byte {position}"));
        out += &format!("  {:9} {}{place}: {}\n", finding.severity.name(), finding.file.display(), finding.problem);
        if finding.severity > Severity::Note {
            out += &format!("            {}\n            repair: {}\n", finding.meaning, finding.repair);
        }
    }
    if let Some(repaired) = outcome.repaired.as_ref().filter(|repaired| repaired.before.is_wrong()) {
        out += &repair_told(repaired);
    }
    out
}

fn repair_told(repaired: &Repaired) -> String {
    let left = if repaired.after.is_wrong() { "something is still wrong, see check" } else { "all is right now" };
    let mut out = format!("  repaired: {} offsets lost their records; {left}\n", repaired.lost_offsets);
    for path in &repaired.kept_aside {
        out += &format!("            kept aside: {}\n", path.display());
    }
    out
}

fn summary(outcomes: &[Outcome]) -> String {
    let count = |wanted| outcomes.iter().filter(|outcome| outcome.severity() == wanted).count();
    let (damaged, harmless) = (count(Severity::Damage), count(Severity::Harmless));
    let right = outcomes.len() - damaged - harmless;
    format!(
        "{} partitions: {right} all right, {harmless} that the broker mends by itself, {damaged} damaged\n",
        outcomes.len()
    )
}

fn as_json(outcomes: &[Outcome]) -> String {
    let partitions: Vec<Value> = outcomes.iter().map(partition_as_json).collect();
    format!("{}\n", json!({ "partitions": partitions }))
}

fn partition_as_json(outcome: &Outcome) -> Value {
    let now = outcome.now();
    let findings: Vec<Value> = outcome
        .found
        .findings
        .iter()
        .map(|finding| {
            json!({
                "severity": finding.severity.name(), "file": finding.file, "position": finding.position,
                "problem": finding.problem, "meaning": finding.meaning, "repair": finding.repair,
            })
        })
        .collect();
    let repaired = outcome.repaired.as_ref().map(|repaired| {
        json!({ "lost_offsets": repaired.lost_offsets, "kept_aside": repaired.kept_aside, "still_wrong": repaired.after.is_wrong() })
    });
    json!({
        "dir": now.dir, "segments": now.segments, "records": now.records, "log_start_offset": now.offsets.0,
        "log_end_offset": now.offsets.1, "severity": outcome.severity().name(), "findings": findings, "repaired": repaired,
    })
}
