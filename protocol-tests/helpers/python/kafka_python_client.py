"""kafka-python behind the helper contract."""
from functools import cached_property

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import NewTopic

from contract import HEARTBEAT_MS, POLL_S, SESSION_MS, main, received

# This client (3.0.12) now and then spins for ever in a poll that runs out of time in the middle of a rebalance, seen with
# 50-100 ms against Tifo and Apache Kafka alike (1 join in 15); so its polls have time for one.
JOINING_POLL_MS = 1_000


class Client:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def create(self, topic, partitions):
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)])
        admin.close()

    def produce(self, topic, codec, idempotent, records):
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all", linger_ms=5, **idempotence(idempotent),
                                 compression_type=None if codec == "none" else codec)
        sent = [producer.send(topic, key=r.key.encode(), value=r.value.encode(), timestamp_ms=r.timestamp,
                              headers=[(n, v.encode()) for n, v in r.headers]) for r in records]
        producer.flush()
        acknowledged = sum(future.get(timeout=30).offset >= 0 for future in sent)
        producer.close()
        return acknowledged

    def member(self, topic, group):
        consumer = KafkaConsumer(topic, bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False,
                                 auto_offset_reset="earliest", heartbeat_interval_ms=HEARTBEAT_MS,
                                 session_timeout_ms=SESSION_MS)
        return Member(consumer, topic)

    @cached_property
    def reader(self):
        return KafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)

    def offsets_for_time(self, topic, timestamp):
        partitions = [TopicPartition(topic, p) for p in self.reader.partitions_for_topic(topic)]
        found = self.reader.offsets_for_times({tp: timestamp for tp in partitions})
        return {tp.partition: at.offset if at else -1 for tp, at in found.items()}

    def read_at(self, topic, partition, offset):
        tp = TopicPartition(topic, partition)
        self.reader.assign([tp])
        self.reader.seek(tp, offset)
        return from_client(next(self.reader))

    def close(self):
        self.reader.close()


class Member:
    def __init__(self, consumer, topic):
        self.consumer, self.topic = consumer, topic

    def assignment(self):
        return [tp.partition for tp in self.consumer.assignment()]

    def poll(self, room):
        batches = self.consumer.poll(timeout_ms=JOINING_POLL_MS, max_records=min(room, 500))
        return [from_client(r) for records in batches.values() for r in records]

    def idle(self):
        self.consumer.pause(*self.consumer.assignment())
        self.consumer.poll(timeout_ms=int(POLL_S * 1000))
        return []

    def commit(self, position):
        self.consumer.commit({TopicPartition(self.topic, p): committed_at(o) for p, o in position.items()})

    def close(self):
        self.consumer.close()


def idempotence(wanted):
    """Version 2.0 has no such setting."""
    return {"enable_idempotence": wanted} if "enable_idempotence" in KafkaProducer.DEFAULT_CONFIG else {}


def committed_at(offset):
    """Version 2.0 knows no leader epoch."""
    return OffsetAndMetadata(*(offset, "", -1)[:len(OffsetAndMetadata._fields)])


def from_client(record):
    return received(record.partition, record.offset, record.timestamp, record.key, record.value, record.headers)


if __name__ == "__main__":
    main(Client, kafka.__version__)
