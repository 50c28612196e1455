"""The recorded taps as a raw topic on any cluster, and what stands in a topic for a reader of committed records."""

import json
import time
import zlib

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import recount

PARTITIONS = 6
READ_S = 20
HOUR_MS = 3_600_000


def create(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS)])[topic].result(30)


def partition_of(event, partitions):
    return zlib.crc32(event["user_id"].encode()) % partitions


def recorded_and_end():
    """The recorded events, moved by whole hours to the last two (retention takes what is old), and one half an hour later in each
    partition, so that every recorded window closes by watermarks."""
    events = recount.recorded_events()
    last = max(event["timestamp"] for event in events)
    moved = (int(time.time() * 1000) - last) // HOUR_MS * HOUR_MS
    events = [{**event, "timestamp": event["timestamp"] + moved} for event in events]
    end = {**events[0], "timestamp": last + moved + HOUR_MS // 2, "channel_id": "end"}
    return events, [{**end, "message_id": f"end-{number}"} for number in range(PARTITIONS)]


class Feeder:
    """Writes events in order; each where its user belongs, the last ones one in each partition."""

    def __init__(self, bootstrap, topic, partitions=PARTITIONS):
        self.topic, self._partitions = topic, partitions
        self.producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})

    def send(self, events):
        for event in events:
            self._produce(event, partition_of(event, self._partitions))
        assert self.producer.flush(READ_S) == 0

    def end(self, ends):
        for partition, event in enumerate(ends[:self._partitions]):
            self._produce(event, partition)
        assert self.producer.flush(READ_S) == 0

    def _produce(self, event, partition):
        self.producer.produce(self.topic, json.dumps(event), event["user_id"], partition=partition, timestamp=event["timestamp"])


def committed_records(bootstrap, topic, partitions=1):
    """(key, JSON, timestamp) of every record that a reader of committed records is given."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False,
                         "isolation.level": "read_committed", "enable.partition.eof": True})
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        found, ended, deadline = [], set(), time.monotonic() + READ_S
        while len(ended) < partitions:
            assert time.monotonic() < deadline, f"{topic}: its end does not come"
            for message in consumer.consume(5000, timeout=0.1):
                if message.error() is None:
                    key = message.key() and message.key().decode()
                    found.append((key, json.loads(message.value()), message.timestamp()[1]))
                else:
                    assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                    ended.add(message.partition())
        return found
    finally:
        consumer.close()
