"""Windowed counts: what an event costs, when a window's rows arrive, what it takes in memory; beside Kafka Streams and Spark.

Events of 296 bytes in 6 partitions, written before anybody counts them (`cost`, `groups`, `voters`), or at a steady rate (`live`, `produce`).
Tifo's figure is its process with the aggregator on, less the same process started on the same log with it off. The rivals are
processes of their own: their CPU is counted from the moment that they run, Apache Kafka's beside it.
"""

import json
import time
import urllib.request

from . import rivals
from .drive import load
from .process import cpu_seconds, rss_mib

PARTITIONS = 6
WINDOW_MS = 2000
EVENTS = {True: 500_000, False: 2_000_000}
RIVAL_EVENTS = {True: 200_000, False: 1_000_000}
LIVE_RATE = 5_000
LIVE_SECONDS = {True: 10, False: 20}
STEP_US = 10
VOTERS = 1_000_000
GROUPS = (10, 1_000, 100_000)
CODECS = ("none", "lz4", "zstd")
RIVAL_ROUNDS = 3
# What comes late in the rivals only because they read partitions at different speeds must not be dropped, or they would count less.
CATCH_UP_GRACE_MS = 600_000
WAIT_S = 120


def measure(choice, fleet, results):
    for number in range(choice.runs):
        if "tifo" in choice.servers:
            tifo(choice, fleet, results)
        if "kafka" in choice.servers and number < RIVAL_ROUNDS:
            for name in ("streams", "spark"):
                attempt(results, name, lambda name=name: rival(choice, fleet, results, name))


def attempt(results, name, work):
    """One that fails is reported as failing, the others go on."""
    try:
        work()
    except (RuntimeError, OSError) as error:
        results.fail("aggregate", name, str(error))


# ---------------------------------------------------------------- Tifo

def tifo(choice, fleet, results):
    for codec in CODECS:
        attempt(results, f"tifo, {codec}", lambda codec=codec: cost(choice, fleet, results, codec))
    for groups in GROUPS:
        attempt(results, f"tifo, {groups} groups", lambda groups=groups: by_groups(choice, fleet, results, groups))
    attempt(results, "tifo, voters", lambda: voters(fleet, results))
    for kind in ("append", "field"):
        attempt(results, f"tifo, {kind} time", lambda kind=kind: live(choice, fleet, results, kind))
    attempt(results, "tifo, produce", lambda: produce(choice, fleet, results))


def cost(choice, fleet, results, codec):
    got = caught_up(fleet, EVENTS[choice.quick], 500, codec, definition())
    results.add("aggregate-cost", "tifo", load=f"500 groups, {codec}", **got)


def by_groups(choice, fleet, results, groups):
    """One window for all, so that rows are as many as groups, not as windows."""
    events = EVENTS[choice.quick]
    window_ms = 2 * events * STEP_US // 1000
    got = caught_up(fleet, events, groups, "none", definition(window=f"{window_ms}ms", max_groups=80_000))
    results.add("aggregate-groups", "tifo", load=f"{groups} groups", **got)


def caught_up(fleet, events, groups, codec, aggregate):
    """CPU per million events and memory of the aggregator that finds them all in the log."""
    server = fleet.make("tifo")
    try:
        server.start()
        create(fleet, server)
        fill(fleet, server, events, groups, codec)
        server.stop()
        base_cpu, base_mib = idle(server)
        with_roles(fleet, server, "broker,aggregator", aggregate)
        server.start()
        done = drain(fleet, server, events)
        cpu = cpu_seconds(server.pid) - base_cpu
        return {"cpu_s_per_million": cpu / events * 1e6, "million_per_s": events / done["seconds"] / 1e6,
                "memory_mib": rss_mib(server.pid) - base_mib, "peak_mib": rss_mib(server.pid, "VmHWM") - base_mib}
    finally:
        fleet.drop(server)


def idle(server):
    """What the same log costs without an aggregator."""
    server.arguments = ("--roles", "broker")
    server.start()
    time.sleep(0.5)
    cpu, mib = cpu_seconds(server.pid), rss_mib(server.pid)
    server.stop()
    return cpu, mib


def voters(fleet, results):
    """Memory of a window with a million users who vote once each, beside the same window without votes."""
    base = None
    for kind, extra in (("none", {}), ("dedup", {"dedup": '{ by = ["user_id"], keep = "first" }', "max_voters": 1_000_000})):
        server = fleet.make("tifo")
        try:
            server.start()
            create(fleet, server)
            fill(fleet, server, VOTERS, 500, "none", "-u", VOTERS, "-E")
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


def produce(choice, fleet, results):
    """The server's CPU for the same events with the aggregator off and on; `on` holds the counting, which `cost` shows alone."""
    events = EVENTS[choice.quick]
    spent = {}
    for roles in ("broker", "broker,aggregator"):
        server = fleet.make("tifo")
        try:
            with_roles(fleet, server, roles, definition())
            server.start()
            if roles == "broker":
                create(fleet, server)
            before = cpu_seconds(server.pid)
            fill(fleet, server, events, 500, "none")
            if roles != "broker":
                drain(fleet, server, events)
            spent[roles] = cpu_seconds(server.pid) - before
        finally:
            fleet.drop(server)
    alone = caught_up(fleet, events, 500, "none", definition())["cpu_s_per_million"] * events / 1e6
    off, on = spent["broker"], spent["broker,aggregator"]
    gigabytes = events * 296 / 1e9
    results.add("aggregate-produce", "tifo", off_cpu_s_per_gb=off / gigabytes, on_cpu_s_per_gb=on / gigabytes, counting_cpu_s_per_gb=alone / gigabytes,
                produce_path_ratio=(on - alone) / off)


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
        # The last window of a rival comes when more events do: these have none.
        results.add("aggregate-live", name, load="field time, grace 0", p50_ms=got["p50_ms"], p99_ms=got["p99_ms"],
                    counted_part=got["counted"] / got["sent"], **({"last_window_ms": got["quiet_ms"]} if got["quiet_ms"] >= 0 else {}))
    finally:
        running.stop()


# ---------------------------------------------------------------- the parts of a load

def definition(**changed):
    settings = {"window": f"{WINDOW_MS}ms", "grace": "500ms", "idle_close": "1s", "max_groups": 50_000} | changed
    lines = [f'window = {{ tumble = "{settings.pop("window")}" }}']
    quoted = ("grace", "idle_close")
    lines += [f'{name} = "{value}"' if name in quoted else f"{name} = {value}" for name, value in settings.items()]
    return "\n".join(lines)


def with_roles(fleet, server, roles, aggregate):
    """The server's next start has these roles, and one aggregate, that of a stream."""
    config = fleet.directory("config") / "tifo.toml"
    config.write_text(f"""
[[stream]]
name = "bench"
top_n = 10
[stream.ingest]
topic = "raw"
partitions = {PARTITIONS}
[stream.aggregate]
name = "bench"
from = "raw"
into = "out"
partitions = {PARTITIONS}
group_by = ["channel_id", "metadata.reaction"]
{aggregate}
""", encoding="utf-8")
    server.arguments = ("--roles", roles, "--config", config)


def create(fleet, server, topic="raw", partitions=PARTITIONS):
    load([fleet.tools.log_load, "create", "-b", server.address, "-t", topic, "-p", partitions])


def fill(fleet, server, events, groups, codec, *more):
    base_ms = int(time.time() * 1000) // 3_600_000 * 3_600_000
    return load([fleet.tools.window_load, "fill", "-b", server.address, "-t", "raw", "-p", PARTITIONS, "-n", events, "-g", groups, "-z", codec,
                 "-s", STEP_US, "-B", base_ms, "-P", server.pid, *more])


def drain(fleet, server, events):
    return load([fleet.tools.window_load, "drain", "-b", server.address, "-t", "raw", "-o", "out", "-e", events, "-P", server.pid])


def live_load(fleet, server, seconds, raw="raw", out="out"):
    return load([fleet.tools.window_load, "live", "-b", server.address, "-t", raw, "-o", out, "-p", PARTITIONS, "-r", LIVE_RATE, "-d", seconds])


def await_counted(server, events):
    address = server.process.ready["http"]
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://{address}/v1/aggregates/bench", timeout=10) as answer:
            if json.load(answer)["counted"] >= events:
                return
        time.sleep(0.05)
    raise RuntimeError("not everything was counted in time")
