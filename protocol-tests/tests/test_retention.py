"""Old records go: by age, by size, by DeleteRecords; and whoever reads below the start is told so."""
import json
import tempfile
import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from kafka import KafkaAdminClient
from kafka import TopicPartition as PythonTopicPartition

from suite import dump_log
from suite.process import Deadline

HOUR_MS = 3_600_000
AGES_H = (30, 20, 10, 0)
ASK_S = 15
# The oracle looks every half second and waits as long at its start; Tifo promises about a second.
TAKES_EFFECT_S = 20
AGAIN_S = 0.1


class Topic:
    """A topic of one partition, a segment for each record; all of them are kept at first."""

    def __init__(self, target, tools, **settings):
        self.target, self._tools, self.name = target, tools, target.new_name("retained")
        self.admin = AdminClient({"bootstrap.servers": target.bootstrap, "log_level": 0})
        settings = {"segment.ms": 1000, "retention.ms": -1, "file.delete.delay.ms": 0} | settings
        configs = [part for name, value in settings.items() for part in ("--config", f"{name}={value}")]
        self.run("topics", "--create", "--topic", self.name, "--partitions", 1, *configs)

    def run(self, tool, *args):
        return self._tools.run(tool, "--bootstrap-server", self.target.bootstrap, *args)

    def fill(self, ages_h=AGES_H):
        producer = Producer({"bootstrap.servers": self.target.bootstrap, "log_level": 0})
        now = int(time.time() * 1000)
        for age in ages_h:
            producer.produce(self.name, b"v" * 100, b"k", partition=0, timestamp=now - age * HOUR_MS)
            assert producer.flush(ASK_S) == 0
        return self

    def alter(self, **settings):
        added = ",".join(f"{name.replace('_', '.')}={value}" for name, value in settings.items())
        self.run("configs", "--alter", "--entity-type", "topics", "--entity-name", self.name, "--add-config", added)

    def offset(self, spec):
        partition = TopicPartition(self.name, 0)
        return self.admin.list_offsets({partition: spec})[partition].result(ASK_S).offset

    def range(self):
        return self.offset(OffsetSpec.earliest()), self.offset(OffsetSpec.latest())

    def wait_for_range(self, expected):
        deadline = Deadline(TAKES_EFFECT_S)
        while (found := self.range()) != expected:
            assert not deadline.passed(), f"{self.name}: {found}, not {expected}"
            time.sleep(AGAIN_S)

    def wait_for_segments(self, expected):
        """Base offsets of the segments whose files are left."""
        deadline = Deadline(TAKES_EFFECT_S)
        while (found := [int(file.stem) for file in self.target.files(self.name, 0, ".log")]) != expected:
            assert not deadline.passed(), f"{self.name}: {found}, not {expected}"
            time.sleep(AGAIN_S)

    def read_from(self, offset):
        """Offsets of what a consumer reads from there on; it has nowhere else to go."""
        consumer = Consumer({"bootstrap.servers": self.target.bootstrap, "group.id": "none", "enable.partition.eof": True,
                             "enable.auto.commit": False, "auto.offset.reset": "error", "log_level": 0})
        consumer.assign([TopicPartition(self.name, 0, offset)])
        found = []
        try:
            while True:
                message = consumer.poll(ASK_S)
                assert message is not None, "neither a record nor the end"
                if message.error() is None:
                    found.append(message.offset())
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    return found
                else:
                    raise KafkaException(message.error())
        finally:
            consumer.close()

    def check_below_is_out_of_range(self, offset):
        with pytest.raises(KafkaException) as raised:
            self.read_from(offset)
        error = raised.value.args[0]
        assert error.code() == KafkaError._AUTO_OFFSET_RESET, error
        assert "out of range" in error.str().lower(), error


@pytest.fixture
def tools(tool_server):
    return tool_server()


@pytest.fixture
def topic(target, tools):
    return Topic(target, tools)


def test_a_lowered_retention_ms_takes_old_segments(topic, tools):
    topic.fill()
    assert topic.range() == (0, 4)
    topic.alter(retention_ms=15 * HOUR_MS)
    topic.wait_for_range((2, 4))
    topic.wait_for_segments([2, 3])
    assert topic.read_from(2) == [2, 3]
    topic.check_below_is_out_of_range(1)
    batches = dump_log.read(tools, [topic.target.files(topic.name, 0, ".log")])
    assert [batch.base for batch in batches] == [2, 3]


def test_a_lowered_retention_bytes_takes_old_segments(topic):
    topic.fill()
    one = topic.target.files(topic.name, 0, ".log")[0].stat().st_size
    topic.alter(retention_bytes=2 * one)
    topic.wait_for_range((2, 4))
    topic.wait_for_segments([2, 3])


def test_the_active_segment_goes_when_all_is_old(topic):
    topic.fill((30, 20))
    topic.alter(retention_ms=HOUR_MS)
    topic.wait_for_range((2, 2))
    topic.fill((0,))
    assert topic.range() == (2, 3)
    assert topic.read_from(2) == [2]


def test_a_compacted_topic_keeps_what_is_old(target, tools):
    topic = Topic(target, tools, **{"cleanup.policy": "compact", "retention.ms": 1, "min.cleanable.dirty.ratio": 1})
    other = Topic(target, tools).fill()
    topic.fill((30,))
    other.alter(retention_ms=HOUR_MS)
    other.wait_for_range((3, 4))
    assert topic.range() == (0, 1)


def by_java(topic, offset):
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump({"version": 1, "partitions": [{"topic": topic.name, "partition": 0, "offset": offset}]}, file)
        file.flush()
        told = topic.run("delete-records", "--offset-json-file", file.name)
    found = [line.rsplit(":", 1)[1] for line in told if "low_watermark" in line]
    assert len(found) == 1, told
    return int(found[0])


def by_confluent(topic, offset):
    partition = TopicPartition(topic.name, 0, offset)
    return topic.admin.delete_records([partition])[partition].result(ASK_S).low_watermark


def by_kafka_python(topic, offset):
    admin = KafkaAdminClient(bootstrap_servers=topic.target.bootstrap)
    try:
        partition = PythonTopicPartition(topic.name, 0)
        return admin.delete_records({partition: offset})[partition]["low_watermark"]
    finally:
        admin.close()


@pytest.mark.parametrize("delete", [by_java, by_confluent, by_kafka_python])
def test_deleted_records_are_gone(topic, delete):
    topic.fill()
    assert delete(topic, 1) == 1
    assert topic.range() == (1, 4)
    topic.check_below_is_out_of_range(0)
    assert topic.read_from(1) == [1, 2, 3]
    topic.wait_for_segments([1, 2, 3])
    assert delete(topic, -1) == 4
    assert topic.range() == (4, 4)
    topic.fill((0,))
    assert topic.read_from(4) == [4]


def refusal(topic, offset, name=None):
    partition = TopicPartition(name or topic.name, 0, offset)
    with pytest.raises(KafkaException) as raised:
        topic.admin.delete_records([partition])[partition].result(ASK_S)
    return raised.value.args[0].code()


def test_refusals(target, tools, topic):
    topic.fill((0,))
    assert refusal(topic, 2) == KafkaError.OFFSET_OUT_OF_RANGE
    compacted = Topic(target, tools, **{"cleanup.policy": "compact"}).fill((0,))
    assert refusal(compacted, 1) == KafkaError.POLICY_VIOLATION
    assert compacted.range() == (0, 1)
    # The first commit makes the topic of the offsets.
    consumer = Consumer({"bootstrap.servers": target.bootstrap, "group.id": topic.name, "log_level": 0})
    consumer.commit(offsets=[TopicPartition(topic.name, 0, 1)], asynchronous=False)
    consumer.close()
    assert refusal(topic, 0, "__consumer_offsets") == KafkaError.TOPIC_EXCEPTION
