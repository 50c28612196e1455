"""A TCP proxy that loses answers: it lets a produce request through to the broker, then hangs up instead of the reply.

What a network does at the worst moment: the batch is in the log, the client cannot know and sends it again.
"""
import socket
import struct
import threading

from suite.wire import PRODUCE

BUFFER = 65_536


class CuttingProxy:
    def __init__(self, upstream, cut_at):
        """`cut_at`: numbers of the produce requests, counted from 1, whose answers get lost."""
        host, port = upstream.rsplit(":", 1)
        self._upstream, self._cut_at = (host, int(port)), set(cut_at)
        self._lock, self._produced, self.cuts = threading.Lock(), 0, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            broker = socket.create_connection(self._upstream)
            lose = threading.Event()
            for pump in (self._requests, self._replies):
                threading.Thread(target=pump, args=(client, broker, lose), daemon=True).start()

    def _requests(self, client, broker, lose):
        for frame in frames(client):
            if struct.unpack(">h", frame[4:6])[0] == PRODUCE and self._is_cut():
                lose.set()
            broker.sendall(frame)
        hang_up(client, broker)

    def _replies(self, client, broker, lose):
        for frame in frames(broker):
            if lose.is_set():
                break
            client.sendall(frame)
        hang_up(client, broker)

    def _is_cut(self):
        with self._lock:
            self._produced += 1
            cut = self._produced in self._cut_at
            self.cuts += cut
            return cut

    def end(self):
        self._listener.close()


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
