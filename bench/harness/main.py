"""The order of a whole run: build, measure in turn, report, clean up.

Place: bench/run calls `main`. Each part (start-up, log, latency, durability, groups, taps, fan-out, partitions, aggregate, crowd) is a module that yields samples; medians are taken in report.py only.
It must never end a process that it did not start, or leave data behind.
"""

import os
import shutil
import signal
import sys
import tempfile
import time

from . import aggregate, build, crowd, durability, fanout, groups, latency, log, options, partitions, report, servers, startup, taps

PARTS = {"startup": startup, "log": log, "latency": latency, "durability": durability, "groups": groups, "taps": taps, "fanout": fanout, "partitions": partitions,
         "aggregate": aggregate, "crowd": crowd}


def main():
    choice = options.parse(list(PARTS))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    load_before = os.getloadavg()[0]
    tools = build.everything(choice)
    built = time.monotonic()
    work = tempfile.mkdtemp(prefix="data-", dir=build.CACHE)
    results = report.Results(choice, tools, load_before)
    try:
        for name in choice.only:
            say(f"--- {name}")
            PARTS[name].measure(choice, servers.Fleet(choice, tools, work), results)
    finally:
        servers.stop_all()
        shutil.rmtree(work, ignore_errors=True)
    results.note_times(built - began, time.monotonic() - built)
    print(results.write(build.CACHE))
    return 1 if results.failures else 0


def say(line):
    print(line, file=sys.stderr, flush=True)
