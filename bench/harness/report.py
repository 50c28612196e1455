"""Samples in, medians with their spread out: a table on standard output, .cache/results.md and .cache/results.json."""

import json
import os
import platform
import statistics
import time
from pathlib import Path

KEYS = ("size", "partitions", "codec", "load")
TITLES = {
    "startup": "Start to ready, idle memory, binary",
    "restart": "Start again on what is there, and memory after it went in and out",
    "produce": "Produce, acks=all",
    "fetch": "Fetch, cached",
    "log-memory": "Memory after the bytes of one produce and one fetch",
    "latency": "Produce to consume, 1,000 records/s",
    "durability": "64 producers that wait for each answer, 100 B",
    "groups-commits": "Offset commits, 8 clients that each wait for the answer",
    "groups-transactions": "Transactions, 4 producers, records of 100 B in one partition",
    "groups-stream": "One producer as fast as it can, 100 B: plain, idempotent, transactional (10 commits a second)",
    "groups-rebalance": "Until every member of a classic group has its share, heartbeats every 100 ms",
    "taps": "Tap to MQTT, 2 s windows",
    "fanout-idle": "Idle subscribers: memory of the server and CPU to connect and subscribe, each",
    "fanout-load": "Deliveries, QoS 0, 512 B",
    "fanout-single": "One message a second to everybody",
    "fanout-stalled": "One subscriber in a hundred stalls: the others' time, and what one costs",
    "fanout-hops": "Three bridges in a row: what they add",
    "fanout-early": "Tap over HTTP to another page's WebSocket, early rows every 100 ms",
    "crowd": "A crowd over several node processes",
    "aggregate-cost": "Windows of 2 s over 296 B events that lie in the log, 6 partitions",
    "aggregate-groups": "The same by the number of groups, one window",
    "aggregate-voters": "A million users who vote once each",
    "aggregate-live": "Window end to consumer, 5,000 events/s, 500 groups",
    "aggregate-recovery": "After kill -9 under 200,000 events/s, windows of 500 ms, grace 0",
    "aggregate-produce": "Producing with the aggregator on and off",
    "partitions": "Thousands of partitions (Tifo under a limit of 4,096 open files)",
}

# What the column "x floor" compares; elsewhere it is the CPU per GB.
COMPARED = {"aggregate-cost": "cpu_s_per_million", "fanout-idle": "cpu_us_each", "fanout-load": "cpu_s_per_million", "fanout-single": "p99_ms", "fanout-stalled": "p99_ms_with"}


class Results:
    def __init__(self, choice, tools, load_before):
        self.samples, self.failures, self.goals, self.choice = [], [], [], choice
        self.facts = {
            "processor": processor(), "cores": os.cpu_count(), "kernel": platform.release(), "load average before": round(load_before, 2),
            "rounds": choice.runs, "payload per produce and fetch": f"{choice.megabytes} MB", "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }

    def add(self, part, server, **values):
        self.samples.append({"part": part, "server": server, **values})

    def fail(self, part, server, why):
        self.failures.append(f"{part}: {server}: {why}")

    def goal(self, measure, goal, measured, kept):
        """One line of the goals; `kept` is None where there is nothing to judge by."""
        self.goals.append({"measure": measure, "goal": goal, "measured": measured, "": "not measured" if kept is None else "kept" if kept else "missed"})

    def at_most(self, measure, value, limit, unit):
        """A goal that is one number."""
        self.goal(measure, f"<= {limit} {unit}", f"{short(value)} {unit}" if value is not None else "", value <= limit if value is not None else None)

    def median(self, part, server, name, middle=statistics.median, **cell):
        """Over the rounds, or what else `middle` makes of them; None when there is no sample."""
        found = [sample[name] for sample in self.samples
                 if sample["part"] == part and sample["server"] == server and name in sample and all(sample.get(key) == value for key, value in cell.items())]
        return middle(found) if found else None

    def note_times(self, build_s, measure_s):
        self.facts["time to build / to measure"] = f"{build_s:.0f} s / {measure_s:.0f} s"

    def write(self, folder):
        text = self.markdown()
        Path(folder, "results.md").write_text(text)
        Path(folder, "results.json").write_text(json.dumps({"facts": self.facts, "samples": self.samples, "goals": self.goals, "failures": self.failures}, indent=1))
        return text

    def markdown(self):
        lines = ["# bench/run", "", "; ".join(f"{key}: {value}" for key, value in self.facts.items()) + ".",
                 "Each figure is a median; its minimum and maximum follow in brackets where they differ.", ""]
        for part, title in TITLES.items():
            rows = self.rows(part)
            if rows:
                lines += [f"## {title}", "", *table(rows), ""]
        if self.goals:
            lines += ["## Goals", "", *table(self.goals), ""]
        if self.failures:
            lines += ["## Failed", "", *(f"- {failure}" for failure in self.failures), ""]
        return "\n".join(lines)

    def rows(self, part):
        """One row per server and cell, in the order of first appearance within the cell."""
        groups = {}
        for sample in (sample for sample in self.samples if sample["part"] == part):
            key = tuple((name, sample[name]) for name in KEYS if name in sample)
            groups.setdefault(key, {}).setdefault(sample["server"], []).append(sample)
        rows = []
        for key, by_server in groups.items():
            measure = COMPARED.get(part, "cpu_s_per_gb")
            floor = self.floor_median(by_server, measure)
            for server, samples in by_server.items():
                row = {**dict(key), "server": server, **medians(samples)}
                if floor and server != "floor":
                    row["x floor"] = f"{statistics.median(s[measure] for s in samples) / floor:.2f}"
                rows.append(row)
        return rows

    @staticmethod
    def floor_median(by_server, measure):
        return statistics.median(s[measure] for s in by_server["floor"]) if "floor" in by_server else 0


def medians(samples):
    names = dict.fromkeys(name for sample in samples for name in sample if name not in ("part", "server", *KEYS))
    return {name: cell([sample[name] for sample in samples if name in sample]) for name in names}


def cell(values):
    middle, low, high = (short(value) for value in (statistics.median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def short(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    widths = {name: max(len(name), *(len(str(row.get(name, ""))) for row in rows)) for name in names}
    line = lambda cells: "| " + " | ".join(str(text).ljust(widths[name]) for name, text in cells) + " |"  # noqa: E731
    return [
        line([(name, name) for name in names]),
        "|" + "|".join("-" * (widths[name] + 2) for name in names) + "|",
        *(line([(name, row.get(name, "")) for name in names]) for row in rows),
    ]


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
