"""What is left of a compacted topic once it is clean: the same on both brokers."""
import re
import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from suite import dump_log

SETTINGS = {"cleanup.policy": "compact", "segment.ms": "200", "min.cleanable.dirty.ratio": "0.01",
            "delete.retention.ms": "600000"}
KEYS = 7
ROUNDS = 12
CLEANED_WITHIN_S = 90
# Gone with a table's key: its last record is a tombstone.
GONE = "key-3"
# Also a tombstone, which dump-log prints without a payload.
RECORD = re.compile(r"^\| offset: (?P<offset>\d+) .*? key: (?P<key>\S+)")


def updates():
    """Rounds of (key, value); every key comes again and again, one ends with a tombstone, some batches are compressed."""
    for number in range(ROUNDS):
        yield [(f"key-{key}", None if number == ROUNDS - 1 and f"key-{key}" == GONE else f"value {number} of {key}")
               for key in range(KEYS) if (number + key) % 3 or number == ROUNDS - 1] + [(f"once-{number}", "x" * 50)]


def make_topic(target, stem):
    topic = target.new_name(stem)
    admin = AdminClient({"bootstrap.servers": target.bootstrap})
    for created in admin.create_topics([NewTopic(topic, 1, 1, config=SETTINGS)]).values():
        created.result(30)
    return topic


def produce(target, topic, codec, rounds):
    """One batch a round, the records' times far enough apart that each begins a segment."""
    start = int(time.time() * 1000) - 3_600_000
    producer = Producer({"bootstrap.servers": target.bootstrap, "compression.type": codec, "linger.ms": 1000,
                         "enable.idempotence": True})
    for number, records in enumerate(rounds):
        for key, value in records:
            producer.produce(topic, key=key, value=value, partition=0, timestamp=start + number * 1000)
        assert producer.flush(30) == 0


def read_all(target, topic, isolation="read_committed"):
    """(offset, key, value) of every record from the beginning."""
    consumer = Consumer({"bootstrap.servers": target.bootstrap, "group.id": f"reader-of-{topic}", "isolation.level": isolation,
                         "enable.partition.eof": True, "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    records = []
    try:
        while True:
            message = consumer.poll(30)
            assert message is not None, "no end of the partition"
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                return records
            value = message.value()
            records.append((message.offset(), message.key().decode(), None if value is None else value.decode()))
    finally:
        consumer.close()


def expected_after(written):
    """The last segment is active and stays whole; of what lies before it the newest record of each key is left."""
    active = len(written) - len(list(updates())[-1])
    newest = {key: offset for offset, key, _ in written[:active]}
    return [record for record in written if record[0] >= active or newest[record[1]] == record[0]]


def wait_until_clean(target, topic, expected):
    deadline = time.monotonic() + CLEANED_WITHIN_S
    while (found := read_all(target, topic)) != expected:
        assert time.monotonic() < deadline, dump_log.first_difference(found, expected)
        time.sleep(0.2)


@pytest.mark.parametrize("packing", ["none", "lz4", "zstd"])
def test_the_newest_of_each_key_is_left_at_its_offset(target, tool_server, packing):
    topic = make_topic(target, f"table-{packing}")
    produce(target, topic, packing, updates())
    written = [(offset, key, value) for offset, (key, value) in enumerate(pair for batch in updates() for pair in batch)]
    expected = expected_after(written)
    assert len(expected) < len(written) / 2 and (GONE, None) in [(key, value) for _, key, value in expected]
    wait_until_clean(target, topic, expected)
    check_files(target, tool_server(), topic, expected)


def check_files(target, tools, topic, expected):
    """Kafka's dump-log reads the cleaned segments, and their indexes fit them."""
    logs = target.files(topic, 0, ".log")
    on_disk = []
    for line in tools.run("dump-log", "--deep-iteration", "--print-data-log", "--files", ",".join(map(str, logs))):
        if found := RECORD.match(line):
            on_disk.append((int(found["offset"]), found["key"]))
        elif found := dump_log.BATCH.match(line):
            assert found["valid"] == "true", line
        else:
            # Offsets have gaps, as they should.
            assert "corrupt" not in line and "Exception" not in line, line
    assert on_disk == [(offset, key) for offset, key, _ in expected]
    indexes = target.files(topic, 0, ".index") + target.files(topic, 0, ".timeindex")
    for line in tools.run("dump-log", "--verify-index-only", "--files", ",".join(map(str, indexes))):
        dump_log.check_no_complaint(line)
    leftovers = [path.name for path in target.partition_dir(topic, 0).iterdir() if path.suffix in (".cleaned", ".swap")]
    assert not leftovers, leftovers


def test_aborted_records_replace_nothing_and_go(target):
    """Transactions of the coordinator: what was aborted neither wins over an older record of its key nor stays."""
    topic = make_topic(target, "transactional-table")
    # Later than the markers, which bear the present: so that each transaction begins a segment.
    start = int(time.time() * 1000)
    writer = Producer({"bootstrap.servers": target.bootstrap, "transactional.id": f"id-{topic}", "linger.ms": 0})
    writer.init_transactions(30)
    transactions = [({"a": "1", "b": "1"}, True), ({"a": "2", "c": "1"}, False), ({"b": "2"}, True), ({"a": "3"}, False), ({"end": "x"}, True)]
    for number, (records, ends_well) in enumerate(transactions):
        writer.begin_transaction()
        for key, value in records.items():
            writer.produce(topic, key=key, value=value, partition=0, timestamp=start + number * 1000)
        writer.commit_transaction(30) if ends_well else (writer.flush(30), writer.abort_transaction(30))
    # An old time: it begins no segment. The last transaction and this stay in the active one, what is before is cleaned.
    produce(target, topic, "none", [[("plain", "y")]])
    expected = [("a", "1"), ("b", "2"), ("end", "x"), ("plain", "y")]
    deadline = time.monotonic() + CLEANED_WITHIN_S
    while (found := [pair[1:] for pair in read_all(target, topic, "read_uncommitted")]) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    assert [pair[1:] for pair in read_all(target, topic)] == expected


def test_a_record_without_key_is_refused(target):
    topic = make_topic(target, "keyless")
    producer = Producer({"bootstrap.servers": target.bootstrap})
    outcomes = []
    producer.produce(topic, value="no key", partition=0, on_delivery=lambda error, _: outcomes.append(error))
    producer.flush(30)
    assert [error.code() for error in outcomes] == [KafkaError.INVALID_RECORD], outcomes
    produce(target, topic, "none", [[("key", "value")]])
    assert read_all(target, topic) == [(0, "key", "value")]


def test_an_offset_in_a_gap_is_read_from_the_next_record(target):
    topic = make_topic(target, "gaps")
    rounds = list(updates())
    produce(target, topic, "none", rounds)
    written = [(offset, key, value) for offset, (key, value) in enumerate(pair for batch in rounds for pair in batch)]
    expected = expected_after(written)
    wait_until_clean(target, topic, expected)
    gap = next(offset for offset, key, _ in written if offset not in {left for left, *_ in expected})
    consumer = Consumer({"bootstrap.servers": target.bootstrap, "group.id": f"gap-of-{topic}"})
    try:
        consumer.assign([TopicPartition(topic, 0, gap)])
        message = consumer.poll(30)
        if message is None or message.error():
            raise KafkaException(message and message.error())
        assert message.offset() == next(offset for offset, *_ in expected if offset >= gap)
        assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30) == (0, len(written))
    finally:
        consumer.close()
