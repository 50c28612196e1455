"""kill -9 under load: what stock clients were told is stored is there, once, in order, unaltered; dump-log reads the files."""
import os
import random
import time

import pytest

from durability import files, load, verdict
from durability.kill_cycles import Run

CYCLES = int(os.environ.get("TIFO_KILL_CYCLES", "20"))
RATE = 700  # records a second of each of the nine producers: what two cores bear beside the clients themselves
SECONDS_A_CYCLE = 20  # far above what one takes; the limit of a long run grows with it


@pytest.mark.timeout(180 + CYCLES * SECONDS_A_CYCLE)
def test_nothing_acknowledged_is_lost(request, binary, places, tool_server, tmp_path):
    seed = int(os.environ.get("TIFO_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"TIFO_SEED={seed}")
    programs = load.commands(places, request.config.getoption("--oracle-dir"))
    began = time.monotonic()
    run = Run(binary, tmp_path / "data", programs, CYCLES, seed, RATE, say=print)
    outcome = run.go()
    print(f"{time.monotonic() - began:.0f} s\n{outcome.report()}")
    assert not outcome.faults(), outcome.report()
    counts = verdict.total(outcome.partitions)
    assert counts["acknowledged"] > CYCLES * 100, "hardly any load"
    read = files.check_all(tool_server(), tmp_path / "data", run.kinds())
    print(f"{time.monotonic() - began:.0f} s: dump-log has read {read}")
    assert all(read[suffix] for suffix in (".log", ".index", ".timeindex", ".snapshot")), read
