"""Produce, Fetch and CreateTopics by hand, with all that their answers say."""
import struct
from contextlib import closing
from dataclasses import dataclass

from suite import batches, wire
from suite.process import Deadline

PRODUCE, FETCH, API_VERSIONS, CREATE_TOPICS = 0, 1, 18, 19
FETCH_VERSION, CREATE_TOPICS_VERSION, RECORD_ERRORS_SINCE = 11, 2, 8
SETTLE_S = 30
MAX_BYTES = 1 << 20


class Reader:
    """Takes one field after the other off an answer."""

    def __init__(self, data):
        self._data = data

    def take(self, layout):
        size = struct.calcsize(">" + layout)
        values, self._data = struct.unpack(">" + layout, self._data[:size]), self._data[size:]
        return values[0] if len(values) == 1 else values

    def bytes(self, size):
        taken, self._data = self._data[:max(size, 0)], self._data[max(size, 0):]
        return taken

    def text(self):
        size = self.take("h")
        return None if size < 0 else self.bytes(size).decode()


@dataclass
class Produced:
    error: int
    base_offset: int
    log_append_time: int
    log_start_offset: int = -1
    record_errors: list = ()
    message: str | None = None


@dataclass
class Fetched:
    error: int
    high_watermark: int
    last_stable_offset: int
    aborted: list | None
    batches: list


class Wire(wire.Wire):
    def create_topic(self, name, settings):
        """Usable when this returns."""
        body = struct.pack(">i", 1) + wire.text(name) + struct.pack(">ihii", 1, 1, 0, len(settings))
        for key, value in settings.items():
            body += wire.text(key) + wire.text(value)
        reply = Reader(self._ask(CREATE_TOPICS, CREATE_TOPICS_VERSION, body + struct.pack(">ib", 5000, 0)))
        reply.take("ii")
        answered, error = reply.text(), reply.take("h")
        assert (answered, error) == (name, 0), error
        self.await_topic(name)

    def await_topic(self, name):
        """Apache Kafka's broker takes what its controller has made only after a while."""
        deadline = Deadline(SETTLE_S)
        while self.fetch(name).error != 0:
            assert not deadline.passed(), f"{name} does not become usable"

    def produce(self, topic, batch, version=8):
        data = batch.encode()
        body = struct.pack(">hhii", -1, wire.ACKS_ALL, 5000, 1) + wire.text(topic) + struct.pack(">iii", 1, 0, len(data)) + data
        reply = Reader(self._ask(PRODUCE, version, body))
        reply.take("i")
        reply.text()
        _, _, error, base_offset, log_append_time = reply.take("iihqq")
        answer = Produced(error, base_offset, log_append_time, reply.take("q") if version >= 5 else -1)
        if version >= RECORD_ERRORS_SINCE:
            answer.record_errors = [(reply.take("i"), reply.text()) for _ in range(reply.take("i"))]
            answer.message = reply.text()
        return answer

    def fetch(self, topic, offset=0, isolation=0):
        body = struct.pack(">iiiibiii", -1, 0, 1, MAX_BYTES, isolation, 0, -1, 1) + wire.text(topic)
        body += struct.pack(">iiiqqi", 1, 0, -1, offset, -1, MAX_BYTES) + struct.pack(">i", 0) + wire.text("")
        reply = Reader(self._ask(FETCH, FETCH_VERSION, body))
        reply.take("ihii")
        reply.text()
        _, _, error, high_watermark, last_stable_offset, _ = reply.take("iihqqq")
        count = reply.take("i")
        aborted = None if count < 0 else [reply.take("qq") for _ in range(count)]
        reply.take("i")
        return Fetched(error, high_watermark, last_stable_offset, aborted, batches.decode(reply.bytes(reply.take("i"))))

    def api_versions(self):
        """(least, most) version by API."""
        reply = Reader(self._ask(API_VERSIONS, 0, b""))
        error, count = reply.take("hi")
        assert error == 0
        return {key: (least, most) for key, least, most in (reply.take("hhh") for _ in range(count))}


def connect(target):
    return closing(Wire(target.bootstrap))
