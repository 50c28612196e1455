"""Viewers through the HTTP port: each is one descriptor of the process and little memory, and sees what others see."""

import json
import os
import socket
import struct
import time
import urllib.request

import pytest

from rig import Tifo, eventually

VIEWERS = 2_000
# The goal is 2 KiB; pages that the allocator keeps are in it.
MAX_BYTES_EACH = 2_048
OPENING = ("GET /mqtt HTTP/1.1\r\nHost: tifo\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n").encode()
SUBSCRIBED = b"\x82\x04\x20\x02\x00\x00" + b"\x82\x05\x90\x03\x00\x01\x00"


def text(value):
    return struct.pack(">H", len(value)) + value


def frame(packet_type, body):
    """A packet as one masked frame; the mask is 0."""
    packet = bytes([packet_type, len(body)]) + body
    return bytes([0x82, 0x80 | len(packet), 0, 0, 0, 0]) + packet


HELLO = OPENING + frame(0x10, text(b"MQTT") + b"\x04\x02\x00\x3c" + text(b"")) + frame(0x82, b"\x00\x01" + text(b"streams/emoji/#") + b"\x00")


class Viewer:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), 10)
        self._socket.sendall(HELLO)
        answer = b""
        while not answer.endswith(SUBSCRIBED):
            answer += self._receive()
        assert answer.startswith(b"HTTP/1.1 101 "), answer

    def _receive(self):
        received = self._socket.recv(4096)
        assert received, "the server has closed the connection"
        return received

    def mood(self):
        """The payload of the next PUBLISH, as far as it came at once."""
        received = self._receive()
        return json.loads(received[received.index(b"{"):])

    def close(self):
        self._socket.close()


@pytest.fixture
def tifo(binary, tmp_path):
    tifo = Tifo(binary, tmp_path / "data").start()
    yield tifo
    tifo.close()


def descriptors(tifo):
    """Those of sockets, pipes and the like; the log opens files meanwhile."""
    folder = f"/proc/{tifo.process.pid}/fd"
    return sum(not os.readlink(f"{folder}/{number}").startswith("/") for number in os.listdir(folder))


def resident_bytes(tifo):
    with open(f"/proc/{tifo.process.pid}/statm", encoding="ascii") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def tap(tifo):
    event = {"user_id": "u", "channel_id": "ch", "timestamp": int(time.time() * 1000), "metadata": {"reaction": "fire"}}
    url = f"{tifo.http}/v1/streams/emoji/events?ack=committed"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(event).encode(), {"content-type": "application/json"}), timeout=10).close()


def test_viewers_by_the_http_port_are_held_by_the_edge(tifo):
    # What is allocated once, whoever comes.
    for _ in range(50):
        Viewer(tifo.ready["http"]).close()
    eventually(lambda: status(tifo)["viewers"] == 0)
    before, memory = descriptors(tifo), resident_bytes(tifo)
    viewers = [Viewer(tifo.ready["http"]) for _ in range(VIEWERS)]
    try:
        assert status(tifo)["viewers"] == VIEWERS
        # Requests of this test may still have theirs.
        assert descriptors(tifo) - before <= VIEWERS + 5
        each = (resident_bytes(tifo) - memory) / VIEWERS
        print(f"{each:.0f} B for each viewer")
        assert each <= MAX_BYTES_EACH
        tap(tifo)
        assert all(viewer.mood()["total"] == 1 for viewer in viewers)
    finally:
        for viewer in viewers:
            viewer.close()
    eventually(lambda: status(tifo)["viewers"] == 0 and descriptors(tifo) <= before + 5)


def status(tifo):
    with urllib.request.urlopen(f"{tifo.http}/v1/status", timeout=10) as answer:
        return json.load(answer)
