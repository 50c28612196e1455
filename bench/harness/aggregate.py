"""Windowed counts: what an event costs, when a window's rows arrive, what it takes in memory; beside Kafka Streams and Spark, and a floor.

Events of 296 bytes in 6 partitions, written before anybody counts them (`Filled`, `voters`), or at a steady rate (`live`, `produce`).
Tifo's figure is its process with the aggregator on, less the same process started on the same log with it off, by turns. The floor walks and
checks as many batches in memory and reads three fields of each event, counting nothing (aggregator/examples/cost.rs); `aggregator alone` is
Tifo's on those. The rivals are processes of their own: their CPU is counted from the moment that they run, Apache Kafka's beside it.
"""

import json
import subprocess
import time
import urllib.request

from . import aggregate_goals, rivals
from .aggregate_goals import KILLS
from .drive import load
from .process import Process, cpu_seconds, rss_mib

PARTITIONS = 6
WINDOW_MS = 2000
EVENTS = {True: 200_000, False: 2_000_000}
PRODUCED = {True: 200_000, False: 1_000_000}
RIVAL_EVENTS = {True: 200_000, False: 1_000_000}
LIVE_RATE = 5_000
LIVE_SECONDS = {True: 10, False: 20}
STEP_US = 10
VOTERS = 1_000_000
GROUPS = (10, 1_000, 100_000)
# `shuffled`: no event has its fields in the order of another, so that each is parsed.
INPUTS = ("none", "lz4", "zstd", "shuffled")
RIVAL_ROUNDS = 1
LIVE_ROUNDS = 2
RECOVERY_RATE = 200_000
BETWEEN_KILLS_S = 4
# What comes late in the rivals only because they read partitions at different speeds must not be dropped, or they would count less.
CATCH_UP_GRACE_MS = 600_000
WAIT_S = 120
STEP_TIMEOUT_S = 120


def measure(choice, fleet, results):
    if "tifo" in choice.servers:
        tifo(choice, fleet, results)
    if "kafka" in choice.servers:
        for _ in range(min(RIVAL_ROUNDS, choice.runs)):
            for name in ("streams", "spark"):
                attempt(results, name, lambda name=name: rival(choice, fleet, results, name))
    aggregate_goals.judge(results)


def attempt(results, name, work):
    """One that fails is reported as failing, the others go on."""
    try:
        work()
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        results.fail("aggregate", name, str(error))


# ---------------------------------------------------------------- Tifo

def tifo(choice, fleet, results):
    attempt(results, "tifo, cost", lambda: costs(choice, fleet, results))
    attempt(results, "tifo, groups", lambda: by_groups(choice, fleet, results))
    for _ in range(choice.runs):
        attempt(results, "tifo, voters", lambda: voters(fleet, results))
    for _ in range(min(LIVE_ROUNDS, choice.runs)):
        for kind in ("append", "field"):
            attempt(results, f"tifo, {kind} time", lambda kind=kind: live(choice, fleet, results, kind))
    attempt(results, "tifo, recovery", lambda: recovery(choice, fleet, results))
    attempt(results, "tifo, produce", lambda: produce(choice, fleet, results))


def costs(choice, fleet, results):
    """The floor, the aggregator alone and Tifo, one after the other, for each input in every round."""
    events, cells = EVENTS[choice.quick], []
    try:
        for name in INPUTS:
            codec = "none" if name == "shuffled" else name
            cells.append((f"500 groups, {name}", Floor(fleet, name), Filled(fleet, events, 500, codec, *(["-S"] if name == "shuffled" else []))))
        for _ in range(choice.runs):
            for label, floor, log in cells:
                results.add("aggregate-cost", "floor", load=label, cpu_s_per_million=floor.step("floor"))
                results.add("aggregate-cost", "aggregator alone", load=label, cpu_s_per_million=floor.step("aggregator"))
                results.add("aggregate-cost", "tifo", load=label, **log.count(definition()))
    finally:
        for _, floor, log in cells:
            floor.stop()
            log.drop()


def by_groups(choice, fleet, results):
    """One window for all, so that rows are as many as groups, not as windows."""
    events, logs = EVENTS[choice.quick], []
    window_ms = 2 * events * STEP_US // 1000
    try:
        for groups in GROUPS:
            logs.append(Filled(fleet, events, groups, "none"))
        for _ in range(choice.runs):
            for groups, log in zip(GROUPS, logs, strict=True):
                results.add("aggregate-groups", "tifo", load=f"{groups} groups", **log.count(definition(window=f"{window_ms}ms", max_groups=80_000)))
    finally:
        for log in logs:
            log.drop()


class Floor:
    """Batches of one input in a process's memory, which reads or counts them at a word."""

    def __init__(self, fleet, name):
        self.process = Process([fleet.tools.cost, name], fleet.log("cost"), STEP_TIMEOUT_S, stdin=subprocess.PIPE)
        self.events = self.process.ready["events"]

    def step(self, what):
        """CPU seconds per million events."""
        before = cpu_seconds(self.process.pid)
        self.process.child.stdin.write(f"{what}\n".encode())
        self.process.child.stdin.flush()
        if not self.process.line(STEP_TIMEOUT_S):
            raise RuntimeError(f"cost did not do its {what}")
        return (cpu_seconds(self.process.pid) - before) / self.events * 1e6

    def stop(self):
        self.process.stop()


class Filled:
    """Tifo with events in its log, that are counted as often as wanted, each time by an aggregate of a new name."""

    def __init__(self, fleet, events, groups, codec, *how):
        self.fleet, self.events, self.rounds = fleet, events, 0
        self.server = fleet.make("tifo")
        try:
            self.server.start()
            create(fleet, self.server)
            fill(fleet, self.server, events, groups, codec, *how)
            ends(fleet, self.server)
            self.server.stop()
        except BaseException:
            self.drop()
            raise

    def count(self, aggregate):
        """CPU per million events and memory, less those of the server without an aggregator."""
        self.rounds += 1
        base_cpu, base_mib = self.idle()
        out = f"out-{self.rounds}"
        with_roles(self.fleet, self.server, "broker,aggregator", aggregate, out)
        self.server.start()
        try:
            done = drain(self.fleet, self.server, self.events, out)
            cpu = cpu_seconds(self.server.pid) - base_cpu
            return {"cpu_s_per_million": cpu / self.events * 1e6, "million_per_s": self.events / done["seconds"] / 1e6,
                    "memory_mib": rss_mib(self.server.pid) - base_mib, "peak_mib": rss_mib(self.server.pid, "VmHWM") - base_mib}
        finally:
            self.server.stop()

    def idle(self):
        """What the same log costs without an aggregator."""
        self.server.arguments = ("--roles", "broker")
        self.server.start()
        time.sleep(0.5)
        cpu, mib = cpu_seconds(self.server.pid), rss_mib(self.server.pid)
        self.server.stop()
        return cpu, mib

    def drop(self):
        self.fleet.drop(self.server)


def voters(fleet, results):
    """Memory of a window with a million users who vote once each, beside the same window without votes."""
    base = None
    for kind, extra in (("none", {}), ("dedup", {"dedup": '{ by = ["user_id"], keep = "first" }', "max_voters": 1_000_000})):
        server = fleet.make("tifo")
        try:
            server.start()
            create(fleet, server)
            fill(fleet, server, VOTERS, 500, "none", "-u", VOTERS)
            server.stop()
            with_roles(fleet, server, "broker,aggregator,http", definition(window="1h", idle_close="10m", **extra))
            server.start()
            await_counted(server, VOTERS)
            mib = rss_mib(server.pid)
            if kind == "none":
                base = mib
            else:
                results.add("aggregate-voters", "tifo", load=f"{VOTERS} voters", more_memory_mib=mib - base)
        finally:
            fleet.drop(server)


def live(choice, fleet, results, kind):
    """Window end to consumer."""
    seconds = LIVE_SECONDS[choice.quick]
    timing = {"time": '"append"'} if kind == "append" else {}
    server = fleet.make("tifo", ("--roles", "broker,aggregator"))
    try:
        with_roles(fleet, server, "broker,aggregator", definition(grace="0ms", **timing))
        server.start()
        got = live_load(fleet, server, seconds)
        results.add("aggregate-live", "tifo", load=f"{kind} time, grace 0", p50_ms=got["p50_ms"], p99_ms=got["p99_ms"], last_window_ms=got["quiet_ms"])
        if got["counted"] != got["sent"]:
            results.fail("aggregate-live", f"tifo, {kind} time", f"counted {got['counted']} of {got['sent']}")
    finally:
        fleet.drop(server)


def recovery(choice, fleet, results):
    """kill -9 under full load: from the ready line of the next start to the first new decision, which comes with rows."""
    kills, server = KILLS if not choice.quick else 2, fleet.make("tifo")
    with_roles(fleet, server, "broker,aggregator,http", definition(window="500ms", grace="0ms"))
    server.start()
    server.listen = server.address
    sender = None
    try:
        command = [fleet.tools.window_load, "pace", "-b", server.address, "-t", "raw", "-p", PARTITIONS, "-r", RECOVERY_RATE, "-d", (kills + 1) * (BETWEEN_KILLS_S + 1)]
        sender = Process(command, fleet.log("pace"), ready_timeout_s=None)
        for kill in range(kills):
            time.sleep(BETWEEN_KILLS_S + 0.1 * kill)
            before = status(server)
            server.kill_9()
            server.start()
            results.add("aggregate-recovery", "tifo", rows_again_ms=until_rows(server), start_ms=server.process.ready_ms,
                        events_per_s=before["counted"] / (BETWEEN_KILLS_S * (kill + 1)))
        sent = json.loads(sender.line(WAIT_S))
        if sent["sent"] / sent["seconds"] < 0.95 * RECOVERY_RATE:
            results.fail("aggregate-recovery", "tifo", f"the load was {sent['sent'] / sent['seconds']:.0f} events/s")
    finally:
        if sender:
            sender.stop()
        fleet.drop(server)


def until_rows(server):
    """Milliseconds from now until the first new decision; what the log holds of older ones was read before the ready line."""
    began, known = time.monotonic(), status(server)["decisions"]
    while status(server)["decisions"] <= known:
        if time.monotonic() - began > WAIT_S:
            raise RuntimeError("no rows after kill -9")
        time.sleep(0.005)
    return (time.monotonic() - began) * 1000


def produce(choice, fleet, results):
    """The server's CPU for the same events with the aggregator off and on, by turns; `on` holds the counting, which is known from a log that is full."""
    events = PRODUCED[choice.quick]
    log = Filled(fleet, events, 500, "none")
    gigabytes = events * 296 / 1e9
    try:
        for _ in range(choice.runs):
            off, on = (produced(fleet, events, roles) / gigabytes for roles in ("broker", "broker,aggregator"))
            counting = log.count(definition())["cpu_s_per_million"] * events / 1e6 / gigabytes
            results.add("aggregate-produce", "tifo", off_cpu_s_per_gb=off, on_cpu_s_per_gb=on, counting_cpu_s_per_gb=counting)
    finally:
        log.drop()


def produced(fleet, events, roles):
    """CPU seconds of a server until it has all events, and has counted them if it counts."""
    server = fleet.make("tifo")
    try:
        with_roles(fleet, server, roles, definition())
        server.start()
        if roles == "broker":
            create(fleet, server)
        before = cpu_seconds(server.pid)
        fill(fleet, server, events, 500, "none")
        ends(fleet, server)
        if roles != "broker":
            drain(fleet, server, events)
        return cpu_seconds(server.pid) - before
    finally:
        fleet.drop(server)


# ---------------------------------------------------------------- the rivals

def rival(choice, fleet, results, name):
    events = RIVAL_EVENTS[choice.quick]
    start = getattr(rivals, name)
    kafka = fleet.make("kafka").start()
    try:
        attempt(results, name, lambda: rival_cost(fleet, results, kafka, name, start, events))
        attempt(results, name, lambda: rival_live(choice, fleet, results, kafka, name, start))
    finally:
        fleet.drop(kafka)


def rival_cost(fleet, results, kafka, name, start, events):
    create(fleet, kafka, "raw")
    create(fleet, kafka, "out", 1)
    fill(fleet, kafka, events, 500, "none")
    running = start(fleet, kafka, "raw", "out", WINDOW_MS, CATCH_UP_GRACE_MS)
    try:
        own, broker, began = running.cpu_seconds(), cpu_seconds(kafka.pid), time.monotonic()
        running.await_counted(events)
        ends(fleet, kafka)
        drain(fleet, kafka, events)
        results.add("aggregate-cost", name, load="500 groups, none", cpu_s_per_million=(running.cpu_seconds() - own) / events * 1e6,
                    broker_cpu_s_per_million=(cpu_seconds(kafka.pid) - broker) / events * 1e6,
                    million_per_s=events / (time.monotonic() - began) / 1e6, memory_mib=running.rss_mib(), peak_mib=running.rss_mib("VmHWM"))
    finally:
        running.stop()


def rival_live(choice, fleet, results, kafka, name, start):
    create(fleet, kafka, "live")
    create(fleet, kafka, "live-out", 1)
    running = start(fleet, kafka, "live", "live-out", WINDOW_MS, 0)
    try:
        got = live_load(fleet, kafka, LIVE_SECONDS[choice.quick], "live", "live-out")
        # The last window of a rival comes when more events do: these have none. One that is behind by more than the load lasts has no times.
        timed = {"p50_ms": got["p50_ms"], "p99_ms": got["p99_ms"]} if got["timed"] else {}
        results.add("aggregate-live", name, load="field time, grace 0", **timed, counted_part=got["counted"] / got["sent"])
    finally:
        running.stop()


# ---------------------------------------------------------------- the parts of a load

def definition(**changed):
    settings = {"window": f"{WINDOW_MS}ms", "grace": "500ms", "idle_close": "1s", "max_groups": 50_000} | changed
    lines = [f'window = {{ tumble = "{settings.pop("window")}" }}']
    quoted = ("grace", "idle_close")
    lines += [f'{name} = "{value}"' if name in quoted else f"{name} = {value}" for name, value in settings.items()]
    return "\n".join(lines)


def with_roles(fleet, server, roles, aggregate, out="out"):
    """The server's next start has these roles, and one aggregate, that of a stream."""
    config = fleet.directory("config") / "tifo.toml"
    config.write_text(f"""
[[stream]]
name = "{out}"
top_n = 10
[stream.ingest]
topic = "raw"
partitions = {PARTITIONS}
[stream.aggregate]
name = "{out}"
from = "raw"
into = "{out}"
partitions = {PARTITIONS}
group_by = ["channel_id", "metadata.reaction"]
{aggregate}
""", encoding="utf-8")
    server.arguments = ("--roles", roles, "--config", config)


def create(fleet, server, topic="raw", partitions=PARTITIONS):
    load([fleet.tools.log_load, "create", "-b", server.address, "-t", topic, "-p", partitions])


def fill(fleet, server, events, groups, codec, *more):
    return load([fleet.tools.window_load, "fill", "-b", server.address, "-t", "raw", "-p", PARTITIONS, "-n", events, "-g", groups, "-z", codec,
                 "-s", STEP_US, "-B", base_ms(), "-P", server.pid, *more])


def ends(fleet, server):
    """Closes the last windows of `fill`."""
    load([fleet.tools.window_load, "ends", "-b", server.address, "-t", "raw", "-p", PARTITIONS, "-B", base_ms()])


def base_ms():
    """The hour before this one: what is half an hour later is still no time to come."""
    return (int(time.time() * 1000) // 3_600_000 - 1) * 3_600_000


def drain(fleet, server, events, out="out"):
    return load([fleet.tools.window_load, "drain", "-b", server.address, "-t", "raw", "-o", out, "-e", events, "-P", server.pid])


def live_load(fleet, server, seconds, raw="raw", out="out"):
    return load([fleet.tools.window_load, "live", "-b", server.address, "-t", raw, "-o", out, "-p", PARTITIONS, "-r", LIVE_RATE, "-d", seconds])


def status(server):
    with urllib.request.urlopen(f"http://{server.process.ready['http']}/v1/aggregates/out", timeout=10) as answer:
        return json.load(answer)


def await_counted(server, events):
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if status(server)["counted"] >= events:
            return
        time.sleep(0.05)
    raise RuntimeError("not everything was counted in time")
