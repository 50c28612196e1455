"""Two stock consumers: one that reads along during the run, and one that reads everything at its end."""
import threading
import zlib
from array import array
from collections import defaultdict

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from durability.verdict import Partition
from suite.process import Deadline

BATCH = 2000
POLL_S = 0.2
SILENCE_S = 30
NOT_SEEN = -1
# The broker is away now and then; everything else that a reader is told is a finding.
PASSING = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE}


def settings(bootstrap):
    return {"bootstrap.servers": bootstrap, "group.id": "checker", "enable.auto.commit": False, "auto.offset.reset": "error",
            "check.crcs": True, "fetch.wait.max.ms": 50, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "log_level": 2}


class Along:
    """Reads while the broker is killed and started; remembers the checksum of every record it was given."""

    def __init__(self, bootstrap, topics):
        self.seen, self.findings = defaultdict(lambda: array("q")), []
        self._consumer, self._stop = Consumer(settings(bootstrap)), threading.Event()
        self._consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, count in topics.items() for partition in range(count)])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            for message in self._consumer.consume(BATCH, POLL_S):
                self._take(message)
        self._consumer.close()

    def _take(self, message):
        if message.error():
            if message.error().code() not in PASSING:
                self.findings.append(f"{message.topic()}-{message.partition()}: {message.error()}")
            return
        seen, offset = self.seen[message.topic(), message.partition()], message.offset()
        if offset >= len(seen):
            seen.extend([NOT_SEEN] * (offset + 1 - len(seen)))
        seen[offset] = zlib.crc32(message.value())

    def stop(self):
        self._stop.set()
        self._thread.join(SILENCE_S)
        return self.seen


def read_back(bootstrap, ledger, topics, seen, keys):
    """Every partition from its start to its end, judged. `topics`: name -> (partitions, cleanup)."""
    consumer, open_partitions, ends, judged = Consumer(settings(bootstrap)), {}, {}, []
    for topic, (count, cleanup) in topics.items():
        for partition in range(count):
            place = topic, partition
            start, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=SILENCE_S)
            judged.append(Partition(ledger, topic, partition, start, cleanup, keys, seen.get(place)))
            ends[place] = end
            if end > start:
                open_partitions[place] = judged[-1]
    read_until(consumer, open_partitions, ends)
    consumer.close()
    return [partition.finish(ends[partition.topic, partition.partition]) for partition in judged]


def read_until(consumer, partitions, ends):
    consumer.assign([TopicPartition(*place, partition.start) for place, partition in partitions.items()])
    left, silence = dict(partitions), Deadline(SILENCE_S)
    while left:
        messages = consumer.consume(BATCH, POLL_S)
        silence = Deadline(SILENCE_S) if messages else silence
        assert not silence.passed(), f"nothing more came of {({place: (left[place].next_offset, ends[place]) for place in left})}"
        for message in messages:
            assert message.error() is None, f"{message.topic()}-{message.partition()}: {message.error()}"
            place = message.topic(), message.partition()
            if place in left:
                left[place].take(message.offset(), message.key(), message.value())
                if message.offset() + 1 >= ends[place]:
                    del left[place]
