"""A chain of transactional copiers (Apache Kafka's client, franz-go) loses nothing and doubles nothing while brokers and copiers are killed and stopped."""
import os
import random

import pytest

from groups.chain import Chain, programs

FAULTS = int(os.environ.get("TIFO_GROUP_FAULTS", "3"))
SECONDS_A_FAULT = 40  # far above what one takes


@pytest.mark.timeout(180 + FAULTS * SECONDS_A_FAULT)
def test_a_chain_of_copiers_is_exactly_once(request, binary, places, tmp_path):
    seed = int(os.environ.get("TIFO_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"TIFO_SEED={seed}")
    copiers = programs(request.config.getoption("--oracle-dir"), places)
    assert Chain(binary, tmp_path / "data", copiers, seed, say=print).go(FAULTS) == []
