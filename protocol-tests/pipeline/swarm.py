"""A viewer: a stock MQTT client that keeps what it was shown and comes back when the line drops."""

import json
import threading
import time

import paho.mqtt.client as mqtt

RECONNECT_SECONDS = 0.05


class Follower:
    """A stock MQTT client on a topic filter that comes back when the line drops, and goes where a Server Reference sends it (4.11
    of MQTT 5); what it is shown goes to `_on_message`. `address`: HOST:PORT or ws://HOST:PORT/PATH, as the client's transport is."""

    def __init__(self, address, topic_filter, client):
        self._ended, self._address, self.client = False, address, client
        self.moves = []
        self.client.on_connect = lambda client, *_: client.subscribe(topic_filter, qos=1)
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = self._on_message
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._ended:
            try:
                host, port, path = parts(self._address)
                if path:
                    self.client.ws_set_options(path=path)
                self.client.connect(host, port, keepalive=30)
                while self.client.loop(0.2) == mqtt.MQTT_ERR_SUCCESS and not self._ended:
                    pass
            except OSError:
                pass
            time.sleep(RECONNECT_SECONDS)

    def _on_disconnect(self, _client, _userdata, _flags, reason, properties=None):
        references = getattr(properties, "ServerReference", "").split()
        usable = [reference for reference in references if bool(parts(reference)[2]) == bool(parts(self._address)[2])]
        if usable:
            self.moves.append((self._address, str(reason), usable[0]))
            self._address = usable[0]

    def close(self):
        self._ended = True
        self._thread.join(5)
        self.client.disconnect()


def parts(address):
    """Host, port, and the path of a WebSocket."""
    place, slash, path = address.removeprefix("ws://").partition("/")
    host, port = place.rsplit(":", 1)
    return host, int(port), slash + path


class Viewer(Follower):
    """Collects every message of a topic filter, at least once each, by window."""

    def __init__(self, address, topic_filter):
        self.windows, self.conflicts = {}, []
        self.subscribed = threading.Event()
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="viewer", protocol=mqtt.MQTTv311)
        client.on_subscribe = lambda *_: self.subscribed.set()
        super().__init__(address, topic_filter, client)
        assert self.subscribed.wait(10), "the subscription was not acknowledged"

    def _on_message(self, _client, _userdata, message):
        shown = json.loads(message.payload)
        key = (shown["window_start"], shown["channel_id"])
        if self.windows.setdefault(key, shown) != shown:
            self.conflicts.append((self.windows[key], shown))
