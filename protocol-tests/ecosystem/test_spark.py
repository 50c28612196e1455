"""PySpark Structured Streaming reads a topic and writes another, while the broker and Spark are killed. Its Kafka sink promises at least once."""
from pathlib import Path

import pytest

from groups.rig import Program, Source, read_committed

PARTITIONS = 2
BATCHES_BETWEEN = 3


@pytest.fixture
def make_copy(places, tmp_path):
    made = []

    def make(bootstrap, source, into):
        made.append(Program([places.cache / "venv-spark" / "bin" / "python", Path(__file__).parent / "spark_copy.py",
                             bootstrap, source, into, tmp_path / "checkpoint", places.cache / "spark" / "lib"]))
        made[-1].start()
        return made[-1]

    yield make
    for program in made:
        program.end()


def await_batches(copy):
    for _ in range(BATCHES_BETWEEN):
        copy.await_line(lambda line: "batch" in line)


@pytest.mark.timeout(600)
def test_a_stream_is_copied_while_the_broker_and_spark_are_killed(broker, make_copy):
    broker.create(taps=PARTITIONS, copies=1)
    source, copy = Source(broker, "taps", PARTITIONS), make_copy(broker.bootstrap, "taps", "copies")
    for kill in (broker.kill_and_start, copy.kill_and_start, broker.kill_and_start):
        await_batches(copy)
        kill()
    await_batches(copy)
    written = {value for values in source.stop().values() for value in values}
    while not written_into(broker, "copies") >= written:
        copy.await_line(lambda line: "batch" in line)
    assert written_into(broker, "copies") == written
    found = stop(copy)
    assert found["distinct"] == len(written) and found["rows"] >= len(written)


def written_into(broker, topic):
    return {value for _, value in read_committed(broker, topic, 1)[0]}


def stop(copy):
    """What it says at the end of the table it has written."""
    last = {}
    copy.close_input()
    copy.await_line(lambda line: last.update(line) or "rows" in line)
    return last
