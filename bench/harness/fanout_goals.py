"""What the parts `fanout` and `crowd` have shown, goal by goal."""

from .early import GRACE_MS
from .report import short

TCP_BYTES = 600
WEBSOCKET_BYTES = 2048
GREETING_US = 50
CPU_RATIO = 1.2
LATE_RATIO = 1.3
STALLED_RATIO = 1.1
STALLED_KIB = 128
HOPS_MS = 5
EARLY_MS = 200


def judge(choice, results):
    most, median = max(choice.subscribers), results.median
    results.at_most(f"memory per idle subscriber, {most:,} over TCP", idle(results, f"{most:,} over TCP", "bytes_each"), TCP_BYTES, "B")
    for port in ("", " on the HTTP port"):
        load = f"{most:,} over WebSocket{port}"
        results.at_most(f"memory per idle subscriber, {load}", idle(results, load, "bytes_each"), WEBSOCKET_BYTES, "B")
    for count in choice.subscribers:
        results.at_most(f"connect and subscribe, CPU, {count:,} over TCP", idle(results, f"{count:,} over TCP", "cpu_us_each"), GREETING_US, "us")
    for load in loads(results):
        beside_floor(results, f"CPU s per million deliveries, {load}", "fanout-load", "cpu_s_per_million", load, CPU_RATIO)
    load = f"one to {most:,}"
    beside_floor(results, f"p99 ms, {load}", "fanout-single", "p99_ms", load, LATE_RATIO)
    with_, without = (median("fanout-stalled", "tifo", f"p99_ms_{name}") for name in ("with", "without"))
    ratio(results, "1 % stalled: the others' p99 ms, with against without", with_, without, STALLED_RATIO)
    kib = [median("fanout-stalled", "tifo", f"{name}_kib_each") for name in ("process", "kernel")]
    results.at_most("a stalled client, kernel included", None if None in kib else sum(kib), STALLED_KIB, "KiB")
    results.at_most("three bridge hops, added p99", median("fanout-hops", "tifo", "added_p99_ms"), HOPS_MS, "ms")
    load = f"{choice.rate:,} taps/s, ack=committed, grace {GRACE_MS[0]} ms"
    results.at_most(f"tap to another page's WebSocket, early rows every 100 ms, {load}: p99", median("fanout-early", "tifo", "p99_ms", load=load), EARLY_MS, "ms")


def idle(results, load, name):
    return results.median("fanout-idle", "tifo", name, load=load)


def loads(results):
    """The loads that a floor was measured with."""
    return dict.fromkeys(sample["load"] for sample in results.samples if sample["part"] == "fanout-load" and sample["server"] == "floor")


def beside_floor(results, measure, part, name, load, limit):
    ratio(results, f"{measure}, against the floor's", *(results.median(part, server, name, load=load) for server in ("tifo", "floor")), limit)


def ratio(results, measure, own, other, limit):
    known = None not in (own, other)
    told = f"{own / other:.2f} x ({short(own)} and {short(other)})" if known else ""
    results.goal(measure, f"<= {limit} x", told, own <= limit * other if known else None)
