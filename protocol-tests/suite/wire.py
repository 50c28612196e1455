"""A few Kafka requests by hand, for what no stock client does on purpose: the same batch twice, a gap, a stale epoch."""
import socket
import struct
import time
from contextlib import closing

from suite.process import Deadline

PRODUCE, SYNC_GROUP, INIT_PRODUCER_ID, END_TXN, TXN_OFFSET_COMMIT = 0, 14, 22, 26, 28
PRODUCE_VERSION, INIT_PRODUCER_ID_VERSION = 7, 1
TIMEOUT_S = 20
ACKS_ALL = -1

NONE, CORRUPT_MESSAGE, LOADING, OUT_OF_ORDER_SEQUENCE, INVALID_PRODUCER_EPOCH = 0, 2, 14, 45, 47
LOADING_WAIT_S = 0.1


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


class Connection:
    """Frames to one broker, and its answers."""

    def __init__(self, bootstrap, timeout_s=TIMEOUT_S):
        host, port = bootstrap.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout_s)

    def exchange(self, frame):
        """The answer, with its header. TimeoutError without one, ConnectionError when the broker hangs up."""
        self._socket.sendall(struct.pack(">i", len(frame)) + frame)
        return self._read(struct.unpack(">i", self._read(4))[0])

    def _read(self, size):
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise ConnectionError("the broker hung up")
            data += part
        return data

    def close(self):
        self._socket.close()


class Wire(Connection):
    """Requests by hand."""

    def __init__(self, bootstrap):
        super().__init__(bootstrap)
        self._number = 0

    def _ask(self, key, version, body):
        self._number += 1
        reply = self.exchange(struct.pack(">hhi", key, version, self._number) + text("protocol-tests") + body)
        assert struct.unpack(">i", reply[:4])[0] == self._number, "an answer to another request"
        return reply[4:]

    def init_producer_id(self):
        """(producer id, epoch) of a new idempotent producer. Apache Kafka is not ready for it at once: clients ask again."""
        deadline = Deadline(TIMEOUT_S)
        while True:
            reply = self._ask(INIT_PRODUCER_ID, INIT_PRODUCER_ID_VERSION, struct.pack(">hi", -1, 0))
            _, error, producer_id, epoch = struct.unpack(">ihqh", reply)
            if error == NONE:
                return producer_id, epoch
            assert error == LOADING and not deadline.passed(), error
            time.sleep(LOADING_WAIT_S)

    def produce(self, topic, partition, records):
        """(error code, base offset)"""
        body = struct.pack(">hhii", -1, ACKS_ALL, TIMEOUT_S * 1000, 1) + text(topic)
        body += struct.pack(">iii", 1, partition, len(records)) + records
        reply = self._ask(PRODUCE, PRODUCE_VERSION, body)
        start = 4 + 2 + len(topic.encode()) + 4
        _, error, base_offset = struct.unpack(">ihq", reply[start:start + 14])
        return error, base_offset


def connect(target):
    return closing(Wire(target.bootstrap))
