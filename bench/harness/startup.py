"""Start to the ready line (fresh, and on a full log after a clean stop and after kill -9), memory idle and after use, size of the binary."""

import time

from .drive import Topic
from .process import rss_mib

SETTLE_S = 1.0
RECORD_BYTES = 1024
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
        for name in (name for name in choice.servers if name != "floor"):
            if name != "kafka" or run < KAFKA_RUNS[choice.quick]:
                restart(choice, fleet, results, fleet.make(name))
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


def restart(choice, fleet, results, server):
    """Everything in and out again; as much in once more, kill -9 at once and a start; a clean stop and a start. All of it in one partition."""
    server.start()
    payload = ["-s", RECORD_BYTES, "-n", choice.restart_megabytes * 1_000_000]
    topic = Topic(fleet, server, "full", 1)
    try:
        for mode in ("produce", "fetch"):
            topic.run(mode, *payload)
        after = rss_mib(server.pid)
        topic.run("produce", *payload)
    except RuntimeError as error:
        results.fail("restart", server.name, str(error))
        return fleet.drop(server)
    server.kill_9()
    server.start()
    killed = ready_ms(server)
    server.stop()
    server.start()
    results.add("restart", server.name, megabytes=choice.restart_megabytes, after_mib=after, killed_ms=killed, clean_ms=ready_ms(server))
    fleet.drop(server)


def ready_ms(server):
    return getattr(server, "ready_ms", None) or server.process.ready_ms
