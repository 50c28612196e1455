"""confluent-kafka (librdkafka) behind the helper contract."""
from functools import cached_property

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from contract import HEARTBEAT_MS, POLL_S, SESSION_MS, main, received

# A new assignment waits for the fetch that is under way.
FETCH_WAIT_MS = 20


class Client:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def create(self, topic, partitions):
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)]).values():
            future.result(30)

    def produce(self, topic, codec, idempotent, records):
        acknowledged = []

        def on_delivery(error, message):
            if error is None and message.offset() >= 0:
                acknowledged.append(message.offset())

        producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all", "compression.type": codec,
                             "enable.idempotence": idempotent, "linger.ms": 5,
                             "max.in.flight.requests.per.connection": 5 if idempotent else 1})
        for r in records:
            producer.produce(topic, key=r.key.encode(), value=r.value.encode(), timestamp=r.timestamp,
                             headers=[(n, v.encode()) for n, v in r.headers], on_delivery=on_delivery)
            producer.poll(0)
        producer.flush(60)
        return len(acknowledged)

    def _consumer(self, group, protocol="classic"):
        # With KIP-848 the broker decides about heartbeats and sessions.
        own = {"group.protocol": protocol} if protocol != "classic" else {"heartbeat.interval.ms": HEARTBEAT_MS,
                                                                         "session.timeout.ms": SESSION_MS}
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "enable.auto.commit": False,
                         "auto.offset.reset": "earliest", "fetch.wait.max.ms": FETCH_WAIT_MS, **own})

    def member(self, topic, group, protocol="classic"):
        consumer = self._consumer(group, protocol)
        consumer.subscribe([topic])
        return Member(consumer, topic)

    @cached_property
    def reader(self):
        return self._consumer("reader")

    def offsets_for_time(self, topic, timestamp):
        partitions = self.reader.list_topics(topic, timeout=10).topics[topic].partitions
        found = self.reader.offsets_for_times([TopicPartition(topic, p, timestamp) for p in partitions], timeout=10)
        for tp in found:
            if tp.error:
                raise KafkaException(tp.error)
        return {tp.partition: tp.offset if tp.offset >= 0 else -1 for tp in found}

    def read_at(self, topic, partition, offset):
        self.reader.assign([TopicPartition(topic, partition, offset)])
        message = self.reader.poll(10)
        if message is None or message.error():
            raise KafkaException(message and message.error())
        return from_client(message)

    def close(self):
        self.reader.close()


class Member:
    def __init__(self, consumer, topic):
        self.consumer, self.topic = consumer, topic

    def assignment(self):
        return [tp.partition for tp in self.consumer.assignment()]

    def poll(self, room):
        messages = self.consumer.consume(min(room, 500), timeout=POLL_S)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
        return [from_client(m) for m in messages]

    def idle(self):
        self.consumer.pause(self.consumer.assignment())
        self.consumer.poll(POLL_S)
        return []

    def commit(self, position):
        offsets = [TopicPartition(self.topic, p, o) for p, o in position.items()]
        for tp in self.consumer.commit(offsets=offsets, asynchronous=False):
            if tp.error:
                raise KafkaException(tp.error)

    def close(self):
        self.consumer.close()


def from_client(message):
    return received(message.partition(), message.offset(), message.timestamp()[1],
                    message.key(), message.value(), message.headers())


if __name__ == "__main__":
    main(Client, f"{confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]})")
