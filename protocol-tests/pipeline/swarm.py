"""A viewer: a stock MQTT client that keeps what it was shown and comes back when the line drops."""

import json
import threading
import time

import paho.mqtt.client as mqtt

RECONNECT_SECONDS = 0.05


class Follower:
    """A stock MQTT client on a topic filter that comes back when the line drops; what it is shown goes to `_on_message`."""

    def __init__(self, address, topic_filter, client):
        host, port = address.rsplit(":", 1)
        self._ended, self.client = False, client
        self.client.on_connect = lambda client, *_: client.subscribe(topic_filter, qos=1)
        self.client.on_message = self._on_message
        self._thread = threading.Thread(target=self._run, args=(host, int(port)), daemon=True)
        self._thread.start()

    def _run(self, host, port):
        while not self._ended:
            try:
                self.client.connect(host, port, keepalive=30)
                while self.client.loop(0.2) == mqtt.MQTT_ERR_SUCCESS and not self._ended:
                    pass
            except OSError:
                pass
            time.sleep(RECONNECT_SECONDS)

    def close(self):
        self._ended = True
        self._thread.join(5)
        self.client.disconnect()


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
