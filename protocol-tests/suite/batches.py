"""Record batches by hand, right or wrong in any field, for what no stock client sends."""
import gzip
import struct
from dataclasses import dataclass, replace

NO_CODEC, GZIP, SNAPPY, LZ4, ZSTD = range(5)
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20
HEADER_BYTES = 61


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


@dataclass(frozen=True)
class Record:
    value: bytes | None = b"value"
    key: bytes | None = b"key"
    timestamp_delta: int = 0
    offset_delta: int | None = None
    headers: tuple = ()
    attributes: int = 0
    length: int | None = None
    header_count: int | None = None

    def encode(self, index):
        body = bytes([self.attributes]) + varint(self.timestamp_delta)
        body += varint(index if self.offset_delta is None else self.offset_delta)
        body += _nullable(self.key) + _nullable(self.value)
        body += varint(len(self.headers) if self.header_count is None else self.header_count)
        for name, value in self.headers:
            body += _nullable(name) + _nullable(value)
        return varint(len(body) if self.length is None else self.length) + body


def _nullable(data):
    return varint(-1) if data is None else varint(len(data)) + data


@dataclass(frozen=True)
class Batch:
    """What is None is worked out; what is given stands, true or not."""
    base_timestamp: int
    records: tuple = (Record(),)
    codec: int = NO_CODEC
    flags: int = 0
    base_offset: int = 0
    magic: int = 2
    producer: tuple = (-1, -1, -1)
    count: int | None = None
    last_offset_delta: int | None = None
    max_timestamp: int | None = None
    length: int | None = None
    crc: int | None = None
    payload: bytes | None = None
    behind: bytes = b""

    def with_(self, **changes):
        return replace(self, **changes)

    def encode(self):
        payload = self.payload
        if payload is None:
            plain = b"".join(record.encode(index) for index, record in enumerate(self.records)) + self.behind
            payload = gzip.compress(plain) if self.codec == GZIP else plain
        count = len(self.records) if self.count is None else self.count
        last = len(self.records) - 1 if self.last_offset_delta is None else self.last_offset_delta
        newest = self.base_timestamp + max((record.timestamp_delta for record in self.records), default=0)
        checked = struct.pack(">hiqqqhii", self.codec | self.flags, last, self.base_timestamp,
                              newest if self.max_timestamp is None else self.max_timestamp, *self.producer, count) + payload
        rest = struct.pack(">ibI", -1, self.magic, crc32c(checked) if self.crc is None else self.crc) + checked
        return struct.pack(">qi", self.base_offset, len(rest) if self.length is None else self.length) + rest


def of_values(values, timestamp, producer=(-1, -1, -1), **lies):
    """A batch of records without keys; `producer`: id, epoch, first sequence."""
    return Batch(timestamp, tuple(Record(value, None) for value in values), producer=producer, **lies)


@dataclass(frozen=True)
class Stored:
    """A batch as it was fetched."""
    base_offset: int
    codec: int
    flags: int
    base_timestamp: int
    max_timestamp: int
    producer: tuple
    count: int
    last_offset_delta: int
    crc_is_right: bool
    payload: bytes


def decode(data):
    """The batches in the records of a fetch response."""
    out = []
    while len(data) >= HEADER_BYTES:
        base_offset, length = struct.unpack(">qi", data[:12])
        crc, attributes, last, base_time, max_time, *producer, count = struct.unpack(">IhiqqqhiI", data[17:HEADER_BYTES])
        whole, data = data[:12 + length], data[12 + length:]
        out.append(Stored(base_offset, attributes & 7, attributes & ~7, base_time, max_time, tuple(producer), count, last,
                          crc32c(whole[21:]) == crc, whole[HEADER_BYTES:]))
    return out
