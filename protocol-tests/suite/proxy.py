"""TCP proxies between a client and a broker that know Kafka's requests: to lose answers, and to strike at the worst moment.

A client stays behind the proxy only as long as the broker tells it no other address: with `advertised.listeners`, or where it dials by `--via`.
"""
import random
import socket
import struct
import threading

from suite.wire import PRODUCE

BUFFER = 65_536
# How far behind a request a blow falls: before the broker has read it, while it works on it, when it has answered.
LATEST_BLOW_S = 0.003


class Proxy:
    """Lets everything through. `address` is where it listens."""

    def __init__(self, upstream):
        host, port = upstream.rsplit(":", 1)
        self._upstream, self._lock = (host, int(port)), threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def loses_answer(self, api_key):
        """Asked before a request goes through. True: the client is hung up on instead of getting an answer."""
        return False

    def passed(self, api_key):
        """Told when a request has gone through."""

    def end(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(self._upstream)
            except OSError:
                hang_up(client)
                continue
            lose = threading.Event()
            for pump in (self._requests, self._replies):
                threading.Thread(target=pump, args=(client, broker, lose), daemon=True).start()

    def _requests(self, client, broker, lose):
        for frame in frames(client):
            api_key = struct.unpack(">h", frame[4:6])[0]
            if self.loses_answer(api_key):
                lose.set()
            try:
                broker.sendall(frame)
            except OSError:
                break
            self.passed(api_key)
        hang_up(client, broker)

    def _replies(self, client, broker, lose):
        for frame in frames(broker):
            if lose.is_set():
                break
            try:
                client.sendall(frame)
            except OSError:
                break
        hang_up(client, broker)


class CuttingProxy(Proxy):
    """Loses answers to produce requests: the batch is in the log, the client cannot know and sends it again."""

    def __init__(self, upstream, cut_at):
        """`cut_at`: numbers of the produce requests, counted from 1, whose answers get lost."""
        self._cut_at, self._produced, self.cuts = set(cut_at), 0, 0
        super().__init__(upstream)

    def loses_answer(self, api_key):
        if api_key != PRODUCE:
            return False
        with self._lock:
            self._produced += 1
            cut = self._produced in self._cut_at
            self.cuts += cut
            return cut


class StrikingProxy(Proxy):
    """Does something to the broker just when a request of a certain kind has reached it."""

    def __init__(self, upstream, seed):
        self._random, self._armed = random.Random(seed), None
        super().__init__(upstream)

    def arm(self, api_key, blow):
        """`blow` falls once, at the next request of that kind. Gives an event that tells when it has fallen."""
        fallen = threading.Event()
        with self._lock:
            self._armed = (api_key, blow, fallen)
        return fallen

    def passed(self, api_key):
        with self._lock:
            if not self._armed or self._armed[0] != api_key:
                return
            (_, blow, fallen), self._armed = self._armed, None
            threading.Event().wait(self._random.uniform(0, LATEST_BLOW_S))
        blow()
        fallen.set()


def frames(source):
    """Whole frames, with their length in front, until the other side ends."""
    data = b""
    while True:
        while len(data) >= 4 and len(data) >= 4 + struct.unpack(">i", data[:4])[0]:
            size = 4 + struct.unpack(">i", data[:4])[0]
            yield data[:size]
            data = data[size:]
        try:
            more = source.recv(BUFFER)
        except OSError:
            return
        if not more:
            return
        data += more


def hang_up(*sockets):
    for one in sockets:
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        one.close()
