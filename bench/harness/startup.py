"""Start-up to the ready line, idle memory, size of the binary."""

import time

from .process import rss_mib

SETTLE_S = 1.0
KAFKA_RUNS = {True: 1, False: 2}
TIFO_KINDS = {"tifo --ephemeral": ("--ephemeral",), "tifo --roles broker": ("--roles", "broker")}


def measure(choice, fleet, results):
    for run in range(choice.runs):
        if "tifo" in choice.servers:
            for label, arguments in TIFO_KINDS.items():
                cycle(fleet, results, label, fleet.make("tifo", arguments))
        if "kfake" in choice.servers:
            cycle(fleet, results, "kfake", fleet.make("kfake"))
        if "kafka" in choice.servers and run < KAFKA_RUNS[choice.quick]:
            cycle(fleet, results, "kafka", fleet.make("kafka"))
    if fleet.tools.tifo:
        results.add("startup", "tifo", binary_mb=fleet.tools.tifo.stat().st_size / 1e6)
    if fleet.tools.kfake:
        results.add("startup", "kfake", binary_mb=fleet.tools.kfake.stat().st_size / 1e6)


def cycle(fleet, results, label, server):
    """A fresh start, then a second one on the same data after a clean stop."""
    server.start()
    fresh = ready_ms(server)
    time.sleep(SETTLE_S)
    idle = rss_mib(server.pid)
    server.stop()
    server.start()
    results.add("startup", label, fresh_ms=fresh, again_ms=ready_ms(server), idle_mib=idle)
    fleet.drop(server)


def ready_ms(server):
    return getattr(server, "ready_ms", None) or server.process.ready_ms
