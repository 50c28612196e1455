"""Kafka Connect, distributed: a file goes into a topic and from there into another file, while a worker and the broker are killed.

The source commits its place in the file and the records in one transaction (`exactly.once.source.support`): each line is in the topic
once. The sink promises at least once: no line is missing behind it.
"""
import time

import pytest

from ecosystem.connect import Worker
from groups.rig import read_committed
from suite import process

LINES = 3000
ARRIVE_S = 120


class Files:
    """What goes in and what comes out."""

    def __init__(self, folder):
        self.source, self.sink = folder / "in.txt", folder / "out.txt"
        self.source.touch()
        self.written = 0

    def write(self, count):
        with open(self.source, "a", encoding="ascii") as file:
            file.writelines(f"line {number}\n" for number in range(self.written, self.written + count))
        self.written += count

    def arrived(self):
        """The sink may be in the middle of a line."""
        text = self.sink.read_text(encoding="ascii") if self.sink.exists() else ""
        return text[:text.rfind("\n") + 1].splitlines()

    def await_last(self, workers):
        wanted, deadline = f"line {self.written - 1}", process.Deadline(ARRIVE_S)
        while wanted not in self.arrived():
            assert not deadline.passed(), f"{wanted} did not arrive\n" + "\n".join(worker.report() for worker in workers)
            time.sleep(0.1)


@pytest.fixture
def make_worker(places, tmp_path):
    made = []

    def make(broker):
        made.append(Worker(broker, tmp_path, places.cache / "connect" / "lib").start())
        return made[-1]

    yield make
    for worker in made:
        worker.end()


def connect_files(worker, files):
    worker.put("source", **{"connector.class": "FileStreamSource", "tasks.max": "1", "file": str(files.source), "topic": "lines"})
    worker.put("sink", **{"connector.class": "FileStreamSink", "tasks.max": "1", "file": str(files.sink), "topics": "lines",
                          "consumer.override.auto.offset.reset": "earliest"})
    worker.await_running("source")
    worker.await_running("sink")


@pytest.mark.timeout(600)
def test_files_go_through_a_topic_while_a_worker_and_the_broker_are_killed(broker, make_worker, tmp_path):
    files, first = Files(tmp_path), make_worker(broker)
    connect_files(first, files)
    second = make_worker(broker)
    for kill in (broker.kill_and_start, first.kill_9, broker.kill_and_start):
        files.write(LINES // 4)
        kill()
        files.write(LINES // 12)
        files.await_last([first, second])
    wanted = [f"line {number}" for number in range(files.written)]
    assert [value for _, value in read_committed(broker, "lines", 1)[0]] == wanted
    assert set(files.arrived()) == set(wanted)


@pytest.mark.timeout(300)
def test_files_go_through_a_topic(target, make_worker, tmp_path):
    """The same without kills, on both brokers: what the test itself asks for is Connect's."""
    files, worker = Files(tmp_path), make_worker(target)
    connect_files(worker, files)
    files.write(LINES)
    files.await_last([worker])
    wanted = [f"line {number}" for number in range(LINES)]
    assert [value for _, value in read_committed(target, "lines", 1)[0]] == wanted
    assert files.arrived() == wanted
