"""A few Kafka requests by hand, for what no stock client does on purpose: the same batch twice, a gap, a stale epoch."""
import socket
import struct
import time
from contextlib import contextmanager

from suite.process import Deadline

PRODUCE, INIT_PRODUCER_ID = 0, 22
PRODUCE_VERSION, INIT_PRODUCER_ID_VERSION = 7, 1
TIMEOUT_S = 20
ACKS_ALL = -1

NONE, CORRUPT_MESSAGE, LOADING, OUT_OF_ORDER_SEQUENCE, INVALID_PRODUCER_EPOCH = 0, 2, 14, 45, 47
LOADING_WAIT_S = 0.1


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def varint(value):
    value, out = (value << 1) ^ (value >> 63), b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def _record(index, value):
    body = b"\0" + varint(0) + varint(index) + varint(-1) + varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


def batch(producer_id, epoch, sequence, values, timestamp):
    """One uncompressed record batch of magic 2."""
    records = b"".join(_record(index, value) for index, value in enumerate(values))
    checked = struct.pack(">hiqqqhii", 0, len(values) - 1, timestamp, timestamp, producer_id, epoch, sequence,
                          len(values)) + records
    rest = struct.pack(">ibI", -1, 2, crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(rest)) + rest


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


class Wire:
    """One connection to a broker."""

    def __init__(self, bootstrap):
        host, port = bootstrap.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), TIMEOUT_S)
        self._number = 0

    def _ask(self, key, version, body):
        self._number += 1
        frame = struct.pack(">hhi", key, version, self._number) + text("protocol-tests") + body
        self._socket.sendall(struct.pack(">i", len(frame)) + frame)
        reply = self._read(struct.unpack(">i", self._read(4))[0])
        assert struct.unpack(">i", reply[:4])[0] == self._number, "an answer to another request"
        return reply[4:]

    def _read(self, size):
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            assert part, "the broker hung up"
            data += part
        return data

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

    def close(self):
        self._socket.close()


@contextmanager
def connect(target):
    wire = Wire(target.bootstrap)
    try:
        yield wire
    finally:
        wire.close()
