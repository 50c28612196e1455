"""Idempotent producers: sequences are checked, duplicates are answered with the first offset, a lost answer doubles nothing."""
import time

import pytest

from suite import batches, checks, clients, dump_log, produce_answers, wire
from suite.proxy import CuttingProxy
from suite.workload import workload

PER_BATCH = 10
REMEMBERED_BATCHES = 5
RECORDS = 10_000


class Producer:
    """An idempotent producer that numbers its batches by hand."""

    def __init__(self, connection, topic):
        self._wire, self._topic = connection, topic
        self.producer_id, self.epoch = connection.init_producer_id()

    def send(self, number, epoch=None):
        """Sends batch `number`, whose records carry the sequences of its place."""
        values = [f"{number}-{i}".encode() for i in range(PER_BATCH)]
        producer = self.producer_id, self.epoch if epoch is None else epoch, number * PER_BATCH
        return self._wire.produce(self._topic, 0, batches.of_values(values, int(time.time() * 1000), producer).encode())


@pytest.fixture
def topic(target, places, tool_server):
    name = target.new_name("idempotence")
    clients.make("confluent-kafka", places, tool_server).create(target, name, 1)
    with produce_answers.connect(target) as connected:
        connected.await_topic(name)
    return name


@pytest.fixture
def connection(target):
    with wire.connect(target) as connected:
        yield connected


def test_producer_ids_are_never_given_twice(connection):
    ids = [connection.init_producer_id() for _ in range(20)]
    assert len({producer_id for producer_id, _ in ids}) == 20
    assert {epoch for _, epoch in ids} == {0}


def test_a_duplicate_is_answered_with_the_first_offset(connection, topic):
    producer = Producer(connection, topic)
    first = [producer.send(n) for n in range(REMEMBERED_BATCHES)]
    assert first == [(wire.NONE, n * PER_BATCH) for n in range(REMEMBERED_BATCHES)]
    assert [producer.send(n) for n in range(REMEMBERED_BATCHES)] == first
    assert producer.send(REMEMBERED_BATCHES) == (wire.NONE, REMEMBERED_BATCHES * PER_BATCH)


def test_a_gap_is_refused_and_changes_nothing(connection, topic):
    producer = Producer(connection, topic)
    assert producer.send(0) == (wire.NONE, 0)
    assert producer.send(2)[0] == wire.OUT_OF_ORDER_SEQUENCE
    assert producer.send(1) == (wire.NONE, PER_BATCH)


def test_a_batch_older_than_those_remembered_is_refused(connection, topic):
    producer = Producer(connection, topic)
    for number in range(REMEMBERED_BATCHES + 2):
        producer.send(number)
    assert producer.send(0)[0] == wire.OUT_OF_ORDER_SEQUENCE


def test_epochs(connection, topic):
    producer = Producer(connection, topic)
    assert producer.send(0, epoch=0) == (wire.NONE, 0)
    assert producer.send(3, epoch=1)[0] == wire.OUT_OF_ORDER_SEQUENCE
    assert producer.send(0, epoch=1) == (wire.NONE, PER_BATCH)
    assert producer.send(1, epoch=0)[0] == wire.INVALID_PRODUCER_EPOCH


def test_two_producers_do_not_mix(connection, topic):
    one, other = Producer(connection, topic), Producer(connection, topic)
    answers = [one.send(0), other.send(0), one.send(1), other.send(1), one.send(0), other.send(1)]
    assert answers == [(wire.NONE, at * PER_BATCH) for at in (0, 1, 2, 3, 0, 3)]


def test_a_damaged_batch_is_refused(connection, topic):
    producer = Producer(connection, topic)
    good = batches.of_values([b"whole"], int(time.time() * 1000), (producer.producer_id, 0, 0)).encode()
    damaged = good[:-2] + bytes([good[-2] ^ 0x40]) + good[-1:]
    assert connection.produce(topic, 0, damaged)[0] == wire.CORRUPT_MESSAGE
    assert connection.produce(topic, 0, good) == (wire.NONE, 0)


def test_a_lost_answer_doubles_nothing(target, topic, places, tool_server, ending):
    """franz-go through a proxy that hangs up instead of answering: the batches come twice, the log keeps them once."""
    proxy = CuttingProxy(target.bootstrap, cut_at=(1, 2, 4))
    ending(proxy)
    franz_go = clients.make("franz-go", places, tool_server)
    sent = workload(int(time.time() * 1000), records=RECORDS)
    assert franz_go.produce(target, topic, "lz4", True, sent, extra=["--via", proxy.address]) == RECORDS
    assert proxy.cuts > 0
    batches = dump_log.read(tool_server(), [target.files(topic, 0, ".log")])
    on_disk = [record for batch in batches for record in batch.records]
    checks.check_complete(sent, on_disk)
    dump_log.check_sequences(batches)
