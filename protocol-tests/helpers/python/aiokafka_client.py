"""aiokafka behind the helper contract: its coroutines run on one loop that the contract's plain calls drive."""
import asyncio

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from contract import HEARTBEAT_MS, POLL_S, SESSION_MS, main, received

LOOP = asyncio.new_event_loop()
asyncio.set_event_loop(LOOP)
# Larger batches than the default 16 KiB: one request in flight per partition makes small ones slow.
BATCH_BYTES = 128 * 1024


class Client:
    def __init__(self, bootstrap):
        self.bootstrap, self.reader = bootstrap, None

    def create(self, topic, partitions):
        LOOP.run_until_complete(self._create(topic, partitions))

    async def _create(self, topic, partitions):
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        answer = await admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)])
        await admin.close()
        errors = [error for error in answer.topic_errors if error[1] != 0]
        if errors:
            raise RuntimeError(f"create_topics: {errors}")

    def produce(self, topic, codec, idempotent, records):
        return LOOP.run_until_complete(self._produce(topic, codec, idempotent, records))

    async def _produce(self, topic, codec, idempotent, records):
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=idempotent,
                                    max_batch_size=BATCH_BYTES, compression_type=None if codec == "none" else codec)
        await producer.start()
        sent = [await producer.send(topic, key=r.key.encode(), value=r.value.encode(), timestamp_ms=r.timestamp,
                                    headers=[(n, v.encode()) for n, v in r.headers]) for r in records]
        acknowledged = sum(meta.offset >= 0 for meta in await asyncio.gather(*sent))
        await producer.stop()
        return acknowledged

    def member(self, topic, group):
        return Member(LOOP.run_until_complete(self._subscribe(topic, group)), topic)

    async def _subscribe(self, topic, group):
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False,
                                    auto_offset_reset="earliest", heartbeat_interval_ms=HEARTBEAT_MS,
                                    session_timeout_ms=SESSION_MS)
        await consumer.start()
        return consumer

    def offsets_for_time(self, topic, timestamp):
        if self.reader is None:
            self.reader = LOOP.run_until_complete(self._start_reader(topic))
        partitions = [TopicPartition(topic, p) for p in self.reader.partitions_for_topic(topic)]
        found = LOOP.run_until_complete(self.reader.offsets_for_times({tp: timestamp for tp in partitions}))
        return {tp.partition: at.offset if at else -1 for tp, at in found.items()}

    async def _start_reader(self, topic):
        """Without a group it owns every partition."""
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self.bootstrap)
        await consumer.start()
        return consumer

    def read_at(self, topic, partition, offset):
        tp = TopicPartition(topic, partition)
        self.reader.seek(tp, offset)
        return from_client(LOOP.run_until_complete(self.reader.getone(tp)))

    def close(self):
        LOOP.run_until_complete(self.reader.stop())


class Member:
    def __init__(self, consumer, topic):
        self.consumer, self.topic = consumer, topic

    def assignment(self):
        return [tp.partition for tp in self.consumer.assignment()]

    def poll(self, room):
        batches = LOOP.run_until_complete(
            self.consumer.getmany(timeout_ms=int(POLL_S * 1000), max_records=min(room, 500)))
        return [from_client(r) for records in batches.values() for r in records]

    def idle(self):
        LOOP.run_until_complete(asyncio.sleep(POLL_S))
        return []

    def commit(self, position):
        offsets = {TopicPartition(self.topic, p): o for p, o in position.items()}
        LOOP.run_until_complete(self.consumer.commit(offsets))

    def close(self):
        LOOP.run_until_complete(self.consumer.stop())


def from_client(record):
    return received(record.partition, record.offset, record.timestamp, record.key, record.value, record.headers)


if __name__ == "__main__":
    main(Client, aiokafka.__version__)
