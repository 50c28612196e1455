"""kill -9 under load: what stock clients were told is stored is there, once, in order, unaltered."""
import os
import random
import time

import pytest

from durability import load, verdict
from durability.kill_cycles import Run

CYCLES = int(os.environ.get("TIFO_KILL_CYCLES", "20"))
RATE = 700  # records a second of each of the nine producers: what two cores bear beside the clients themselves
SECONDS_A_CYCLE = 20  # far above what one takes; the limit of a long run grows with it


@pytest.mark.timeout(180 + CYCLES * SECONDS_A_CYCLE)
def test_nothing_acknowledged_is_lost(request, binary, places, tmp_path):
    seed = int(os.environ.get("TIFO_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"TIFO_SEED={seed}")
    programs = load.commands(places, request.config.getoption("--oracle-dir"))
    began = time.monotonic()
    outcome = Run(binary, tmp_path / "data", programs, CYCLES, seed, RATE, say=print).go()
    print(f"{time.monotonic() - began:.0f} s\n{outcome.report()}")
    assert not outcome.faults(), outcome.report()
    counts = verdict.total(outcome.partitions)
    assert counts["acknowledged"] > CYCLES * 100, "hardly any load"
