"""Limits on frames and connections, altered while the broker runs; from an address of our own, so that no other case notices."""
import socket
import struct
from contextlib import ExitStack, contextmanager

import pytest
from suite.process import Deadline
from suite.wire import TIMEOUT_S, Wire, text

ALTER, API_VERSIONS = 44, 18
BROKER, SET, DELETE = 4, 0, 1
OVERRIDES = "max.connections.per.ip.overrides"
OUR_ADDRESS = "127.0.0.77"


def alter(target, operation, value):
    """Of all brokers."""
    value = b"\xff\xff" if value is None else text(value)
    config = text(OVERRIDES) + struct.pack(">b", operation) + value
    body = struct.pack(">ib", 1, BROKER) + text("") + struct.pack(">i", 1) + config + b"\0"
    wire = Wire(target.bootstrap)
    reply = wire._ask(ALTER, 0, body)
    wire.close()
    return struct.unpack(">iih", reply[:10])[2]


def connect_from(target, address):
    host, port = target.bootstrap.rsplit(":", 1)
    return socket.create_connection((host, int(port)), TIMEOUT_S, source_address=(address, 0))


def is_served(connection):
    """Whether a request is answered, or the broker has hung up."""
    try:
        body = struct.pack(">hhi", API_VERSIONS, 0, 1) + text("limits")
        connection.sendall(struct.pack(">i", len(body)) + body)
        return bool(connection.recv(4))
    except ConnectionError:
        return False


@contextmanager
def limit(target, value):
    assert alter(target, SET, value) == 0
    try:
        yield
    finally:
        assert alter(target, DELETE, None) == 0


def test_connections_from_one_address(target):
    with ExitStack() as kept, limit(target, f"{OUR_ADDRESS}:2"):
        for _ in range(2):
            assert is_served(kept.enter_context(connect_from(target, OUR_ADDRESS)))
        assert is_refused(target, OUR_ADDRESS)
        with connect_from(target, "127.0.0.78") as other:
            assert is_served(other)


def is_refused(target, address):
    """Apache Kafka answers before the limit holds."""
    deadline = Deadline(TIMEOUT_S)
    while not deadline.passed():
        with connect_from(target, address) as one_more:
            if not is_served(one_more):
                return True
    return False


@pytest.mark.parametrize("size", [100 * 1024 * 1024 + 1, 2**31 - 1, -1, -2**31])
def test_a_frame_over_the_limit_costs_the_connection(target, size):
    with connect_from(target, "127.0.0.79") as connection:
        connection.sendall(struct.pack(">i", size))
        try:
            assert connection.recv(1) == b""
        except ConnectionResetError:
            pass
