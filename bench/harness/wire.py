"""The few Kafka requests that touch thousands of partitions at once, by hand: a client library would cost more than the server.

Place: partitions.py. One blocking connection; every answer is checked for errors. It must never grow into a client: what has a library
elsewhere uses it.
"""

import socket
import struct
import time

TIMEOUT_S = 300
RETRY_S = 0.05
# UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER: what Kafka's brokers answer until they have heard of what was created.
RETRIABLE = (3, 5, 6)
PRODUCE, FETCH, CREATE_TOPICS, METADATA = (0, 8), (1, 11), (19, 4), (3, 8)


class Connection:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def create(self, topics):
        """`topics`: partition count by name."""
        wanted = [string(name) + struct.pack(">ihii", count, 1, 0, 0) for name, count in topics.items()]
        answer = self._ask(CREATE_TOPICS, array(wanted) + struct.pack(">ib", TIMEOUT_S * 1000, 0))
        answer.take(">i")
        for _ in range(answer.take(">i")):
            name, error = answer.string(), answer.take(">h")
            check(error, f"creating {name}: {answer.string()}")

    def await_leaders(self, topics):
        """Until every partition has one."""

        def once():
            led, wanted = self._partitions_with_leader(topics), sum(topics.values())
            if led != wanted:
                raise NotYet(f"{led} of {wanted} partitions have a leader")

        patiently(once)

    def _partitions_with_leader(self, topics):
        answer = self._ask(METADATA, array([string(name) for name in topics]) + b"\0\0\0")
        answer.take(">i")
        for _ in range(answer.take(">i")):
            answer.take(">i"), answer.string(), answer.take(">i"), answer.string()
        answer.string(), answer.take(">i")
        return sum(self._leaders(answer) for _ in range(answer.take(">i")))

    @staticmethod
    def _leaders(answer):
        answer.take(">h"), answer.string(), answer.take(">b")
        led = 0
        for _ in range(answer.take(">i")):
            error, _, leader, _ = answer.take(">hiii")
            led += error == 0 and leader >= 0
            for _ in range(3):
                answer.skip(4 * answer.take(">i"))
        answer.take(">i")
        return led

    def produce(self, topics, batch):
        """The same batch to every partition, once."""
        left = {name: list(range(count)) for name, count in topics.items()}

        def once():
            nonlocal left
            left = self._produce(left, batch)
            if left:
                raise NotYet(f"partitions that do not take records yet: {left}")

        patiently(once)

    def _produce(self, partitions, batch):
        """Returns what has to be sent again."""
        data = struct.pack(">i", len(batch)) + batch
        every = [string(name) + array([struct.pack(">i", index) + data for index in indexes]) for name, indexes in partitions.items()]
        answer = self._ask(PRODUCE, string(None) + struct.pack(">hi", -1, TIMEOUT_S * 1000) + array(every))
        answered = [self._refused(answer) for _ in range(answer.take(">i"))]
        return {name: indexes for name, indexes in answered if indexes}

    @staticmethod
    def _refused(answer):
        name, refused = answer.string(), []
        for _ in range(answer.take(">i")):
            index, error, _, _, _ = answer.take(">ihqqq")
            for _ in range(answer.take(">i")):
                answer.take(">i"), answer.string()
            message = answer.string()
            if error in RETRIABLE:
                refused.append(index)
            else:
                check(error, f"producing to {name}-{index}: {message}")
        return name, refused

    def fetch(self, topics, high_watermark):
        """From the beginning of every partition; returns the bytes of records. Each must end at `high_watermark`."""
        place = struct.pack(">iqqi", -1, 0, -1, 1 << 16)
        every = [string(name) + array([struct.pack(">i", index) + place for index in range(count)]) for name, count in topics.items()]
        head = struct.pack(">iiiibii", -1, 1000, 1, 1 << 30, 0, 0, -1)
        answer = self._ask(FETCH, head + array(every) + array([]) + string(""))
        _, error, _ = answer.take(">ihi")
        check(error, "fetching")
        return sum(self._fetched(answer, high_watermark) for _ in range(answer.take(">i")))

    @staticmethod
    def _fetched(answer, wanted):
        name, total = answer.string(), 0
        for _ in range(answer.take(">i")):
            index, error, high_watermark, _, _ = answer.take(">ihqqq")
            check(error, f"fetching {name}-{index}")
            if high_watermark != wanted:
                raise RuntimeError(f"{name}-{index} ends at {high_watermark} instead of {wanted}")
            answer.skip(16 * max(answer.take(">i"), 0))
            answer.take(">i")
            length = max(answer.take(">i"), 0)
            answer.skip(length)
            total += length
        return total

    def _ask(self, key_and_version, body):
        request = struct.pack(">hhi", *key_and_version, 1) + string("bench") + body
        self.socket.sendall(struct.pack(">i", len(request)) + request)
        (length,) = struct.unpack(">i", self._receive(4))
        answer = Answer(self._receive(length))
        answer.take(">i")
        return answer

    def _receive(self, length):
        buffer = bytearray(length)
        view = memoryview(buffer)
        while view:
            count = self.socket.recv_into(view)
            if count == 0:
                raise RuntimeError("the server closed the connection")
            view = view[count:]
        return buffer


class Answer:
    def __init__(self, content):
        self.content, self.at = content, 0

    def take(self, layout):
        values = struct.unpack_from(layout, self.content, self.at)
        self.at += struct.calcsize(layout)
        return values if len(values) > 1 else values[0]

    def string(self):
        length = self.take(">h")
        if length < 0:
            return None
        self.at += length
        return self.content[self.at - length : self.at].decode()

    def skip(self, length):
        self.at += length


class NotYet(RuntimeError):
    """What passes by itself."""


def patiently(act):
    """Until it is no more NotYet."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return act()
        except NotYet:
            if time.monotonic() > deadline:
                raise
        time.sleep(RETRY_S)


def check(error, what):
    if error:
        raise RuntimeError(f"{what}: Kafka error {error}")


def string(text):
    return struct.pack(">h", -1) if text is None else struct.pack(">h", len(text)) + text.encode()


def array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


def one_record_batch(value, now_ms):
    """A batch of format 2 with one record without key."""
    body = b"\0\0\0\x01" + varint(len(value)) + value + b"\0"
    record = varint(len(body)) + body
    covered = struct.pack(">hiqqqhii", 0, 0, now_ms, now_ms, -1, -1, -1, 1) + record
    return struct.pack(">qiibI", 0, len(covered) + 9, -1, 2, crc32c(covered)) + covered


def varint(number):
    number <<= 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def crc32c(content):
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
