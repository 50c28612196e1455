//! The tables of docs/scale.md.

use std::fmt::Write;

use crate::figures::{Figure, Figures};
use crate::latency::{self, Quantiles};
use crate::plan::{Plan, most_viewers};
use crate::recovery::{self, Loss, Role};

pub const VIEWERS: [f64; 4] = [250_000.0, 2_000_000.0, 10_000_000.0, 50_000_000.0];
pub const SEED: u64 = 2026;
const ROLES: [(Role, &str); 4] =
    [(Role::Main, "main"), (Role::Bridge, "bridge"), (Role::Publish, "publish"), (Role::Subscribe, "subscribe")];

pub fn all(figures: &Figures) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    sizes(figures, &mut text)?;
    times(figures, &mut text)?;
    losses(figures, &mut text)?;
    inputs(figures, &mut text)?;
    Ok(text)
}

fn sizes(figures: &Figures, text: &mut String) -> std::fmt::Result {
    let node = &figures.node;
    let (most, bound) = most_viewers(node);
    writeln!(
        text,
        "### Machines and cost\nA subscribe node bears {} viewers at most (bound by: {bound}).\n",
        count(most)
    )?;
    writeln!(
        text,
        "| viewers | clusters | subscribe nodes | viewers a node | machines | cores busy on average | memory, GiB | to viewers, Gbit/s | machines, an hour | traffic, an hour |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|")?;
    for viewers in VIEWERS {
        let plan = Plan::of(viewers, node);
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            count(viewers),
            plan.clusters.len(),
            plan.subscribe_nodes(),
            count(plan.viewers_a_node().round()),
            plan.machines(node),
            short(plan.busy_cores(node)),
            short(plan.memory_bytes(node) / 1024_f64.powi(3)),
            short(plan.gbit_per_s(node)),
            short(plan.machines_per_hour(node)),
            short(plan.traffic_per_hour(node)),
        )?;
    }
    writeln!(text)
}

fn times(figures: &Figures, text: &mut String) -> std::fmt::Result {
    writeln!(text, "### From the main node's acceptance to the viewer's socket, ms (p50 / p99)")?;
    writeln!(text, "| viewers | one hop | at a subscribe node | at a viewer |\n|---|---|---|---|")?;
    for viewers in VIEWERS {
        let got = latency::simulate(&Plan::of(viewers, &figures.node), &figures.node, SEED);
        let cells = [got.one_hop, got.at_node, got.at_viewer].map(pair).join(" | ");
        writeln!(text, "| {} | {cells} |", count(viewers))?;
    }
    writeln!(text)
}

fn losses(figures: &Figures, text: &mut String) -> std::fmt::Result {
    writeln!(text, "### Recovery: until viewers see the newest state again, s (p50 / p99)")?;
    writeln!(
        text,
        "| viewers | lost | viewers concerned | of them reconnecting | process killed | machine lost | windows missed then |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|")?;
    for viewers in VIEWERS {
        let plan = Plan::of(viewers, &figures.node);
        for (role, name) in ROLES {
            let process = recovery::simulate(&plan, &figures.node, role, Loss::Process, SEED);
            let machine = recovery::simulate(&plan, &figures.node, role, Loss::Machine, SEED);
            writeln!(
                text,
                "| {} | {name} | {} | {} | {} | {} | {} |",
                count(viewers),
                count(process.viewers.round()),
                count(process.reconnecting.round()),
                pair(seconds(process.back_ms)),
                pair(seconds(machine.back_ms)),
                machine.windows_missed,
            )?;
        }
    }
    writeln!(text)
}

fn inputs(figures: &Figures, text: &mut String) -> std::fmt::Result {
    writeln!(text, "### What it reckons with (bench/scale/figures.toml; seed {SEED})")?;
    writeln!(text, "| figure | value | where from |\n|---|---|---|")?;
    for (table, name, Figure { value, unit, source }) in figures.all() {
        writeln!(text, "| {table}.{name} | {value} {unit} | {source} |")?;
    }
    Ok(())
}

fn seconds(ms: Quantiles) -> Quantiles {
    Quantiles { p50: ms.p50 / 1e3, p99: ms.p99 / 1e3 }
}

fn pair(both: Quantiles) -> String {
    format!("{} / {}", short(both.p50), short(both.p99))
}

/// Three digits: more would feign a precision that the input has not.
fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => count(value.round()),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
