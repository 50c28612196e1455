"""The long run of Kafka Streams (groups/soak): not among the tests that a run of everything collects."""
import os
import random

import pytest

from groups.word_count import WordCount

FAULTS = int(os.environ.get("TIFO_GROUP_FAULTS", "6"))
SECONDS_A_FAULT = 90


@pytest.mark.timeout(300 + FAULTS * SECONDS_A_FAULT)
def test_streams_count_each_word_once(binary, places, tmp_path):
    seed = int(os.environ.get("TIFO_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"TIFO_SEED={seed}")
    folder = places.cache / "kafka-streams"
    command = ["java", "-Xmx256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
               "-cp", f"{folder}/lib/*:{folder}/classes"]
    assert WordCount(binary, tmp_path / "data", command, tmp_path / "state", seed, say=print).go(FAULTS) == []
