"""Consumers of 1,000 partitions do not send their list with every fetch (KIP-227), nor is it sent back: by what the clients count.

A helper (FetchWatcher.java, helpers/go/fetches) takes `read N` (until so many records came since its start) and `idle N` (until so many more
fetches were answered) on standard input, and says after each what its client counted since its start: records, fetches, requests,
bytes sent and received; and how many partitions the records of this step came from.
"""
import json

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from suite import process

PARTITIONS = 1_000
# The few that get something while the others stay idle.
BUSY = range(0, PARTITIONS, 100)
FETCHES = 20
MAX_WAIT_MS = 50
# What a partition takes in a fetch that names it: index, epochs, offsets, sizes.
LEAST_PER_PARTITION = 25
# An incremental fetch, or its answer, that names none of a thousand partitions. One that names all takes tens of thousands.
MOST_PER_IDLE_FETCH = 300
CREATE_S = 60
FLUSH_S = 60
CLIENTS = ["java", "franz-go"]


class Watcher:
    """A helper that reads the topic, and what it said last."""

    def __init__(self, command, target, topic):
        self._child = process.Child([*command, "--bootstrap", target.bootstrap, "--topic", topic,
                                     "--partitions", PARTITIONS, "--max-wait-ms", MAX_WAIT_MS])

    def step(self, what, count):
        self._child.send(f"{what} {count}\n")
        said = self._child.line(process.DEADLINE_S)
        assert said is not None, self._child.report("ended early")
        return json.loads(said)

    def end(self):
        self._child.end()


@pytest.fixture
def command(request, places):
    oracle_dir = request.config.getoption("--oracle-dir")
    java = ["java", "-Xmx256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={oracle_dir}/tools-log4j2.properties",
            "-cp", f"{oracle_dir}/lib/*:{places.java}", "FetchWatcher"]
    return {"java": java, "franz-go": [places.bin / "fetches"]}[request.param]


@pytest.fixture(scope="module")
def admin(target):
    return AdminClient({"bootstrap.servers": target.bootstrap, "log_level": 0})


@pytest.fixture(scope="module")
def topic(target, admin, observers):
    name = target.new_name("thousand")
    admin.create_topics([NewTopic(name, PARTITIONS, 1)], request_timeout=CREATE_S)[name].result(CREATE_S)
    assert observers(target).partitions(name) == PARTITIONS
    put(target, name, range(PARTITIONS))
    yield name
    admin.delete_topics([name], request_timeout=CREATE_S)[name].result(CREATE_S)


def put(target, topic, partitions):
    """One record each."""
    stored, producer = [], Producer({"bootstrap.servers": target.bootstrap, "acks": "all", "log_level": 0})
    for partition in partitions:
        producer.produce(topic, f"record for {partition}", partition=partition,
                         on_delivery=lambda error, message: stored.append((error, message.partition())))
    assert producer.flush(FLUSH_S) == 0
    assert sorted(stored, key=lambda one: one[1]) == [(None, partition) for partition in partitions]


def records_in(admin, topic):
    ends = admin.list_offsets({TopicPartition(topic, p): OffsetSpec.latest() for p in range(PARTITIONS)}, request_timeout=CREATE_S)
    return sum(end.result(CREATE_S).offset for end in ends.values())


@pytest.mark.parametrize("command", CLIENTS, indirect=True)
def test_a_thousand_partitions_are_named_once(command, target, topic, admin, ending):
    start = records_in(admin, topic)
    watcher = Watcher(command, target, topic)
    ending(watcher)
    read = watcher.step("read", start)
    assert (read["records"], read["partitions"]) == (start, PARTITIONS)
    # The list was sent, so this is what would show if it were sent again.
    assert read["sent"] > PARTITIONS * LEAST_PER_PARTITION

    # The first of these still moves the positions of what was read last.
    idle = watcher.step("idle", FETCHES)
    settled = watcher.step("idle", FETCHES)
    requests, sent, received = (settled[name] - idle[name] for name in ("requests", "sent", "received"))
    assert requests >= FETCHES - 1 and settled["records"] == start
    assert sent < requests * MOST_PER_IDLE_FETCH, f"{sent} bytes in {requests} requests"
    assert received < requests * MOST_PER_IDLE_FETCH, f"{received} bytes for {requests} requests"

    put(target, topic, BUSY)
    more = watcher.step("read", start + len(BUSY))
    assert (more["records"], more["partitions"]) == (start + len(BUSY), len(BUSY))
    requests, sent = (more[name] - settled[name] for name in ("requests", "sent"))
    assert sent < requests * MOST_PER_IDLE_FETCH + 2 * len(BUSY) * 100, f"{sent} bytes in {requests} requests"
