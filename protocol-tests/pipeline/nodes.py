"""Nodes of the fan-out as processes, a crowd that taps, and viewers that watch the order of what they are shown."""

import json
import threading
import time
import urllib.error
import urllib.request

import paho.mqtt.client as mqtt

from rig import Tifo
from swarm import Follower

CHANNELS = [f"ch-{number}" for number in range(5)]
TAP_SECONDS = 0.05

# Windows of a second, told five times a second: something new is never far.
SETTINGS = """
[[stream]]
name = "emoji"
top_n = 10
[stream.ingest]
topic = "emoji"
timestamp = "timestamp"
key = ["channel_id", "user_id"]
[stream.aggregate]
name = "emoji"
from = "emoji"
into = "emoji-counts"
window = { tumble = "1s" }
early = "200ms"
group_by = ["channel_id", "metadata.reaction"]
[mqtt]
restart_grace_ms = 0
"""


class Node(Tifo):
    """A process that follows another node; comes back on the same addresses."""

    def __init__(self, binary, folder, name, role, upstream, *flags):
        following = [] if upstream is None else ["--upstream", upstream]
        cluster = [] if "--cluster" in flags else ["--cluster", "c"]
        super().__init__(binary, folder / name, "--roles", "mqtt,http", "--mqtt-role", role, *cluster, *following, *flags)

    @property
    def mqtt(self):
        return self.ready["mqtt"]


class Crowd:
    """Taps on every channel, several times a second, whatever becomes of the process behind `http`."""

    def __init__(self, http):
        self._url = f"{http}/v1/streams/emoji/events?ack=committed"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        number = 0
        while not self._ended.wait(TAP_SECONDS):
            number += 1
            taps = [{"user_id": f"u{number}", "channel_id": channel, "timestamp": int(time.time() * 1000),
                     "metadata": {"reaction": f"r{number % 3}"}} for channel in CHANNELS]
            request = urllib.request.Request(self._url, data=json.dumps(taps).encode(), headers={"content-type": "application/json"})
            try:
                urllib.request.urlopen(request, timeout=5).close()
            except (OSError, urllib.error.HTTPError):
                pass

    def end(self):
        self._ended.set()
        self._thread.join(10)


class Watcher(Follower):
    """An MQTT 5 viewer that remembers whatever was older than something before it."""

    def __init__(self, address, topic_filter="streams/emoji/+"):
        self.newest, self.backwards, self.hops = {}, [], set()
        self._heard = threading.Condition()
        transport = "websockets" if address.startswith("ws://") else "tcp"
        super().__init__(address, topic_filter, mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, transport=transport))

    def _on_message(self, _client, _userdata, message):
        shown = json.loads(message.payload)
        origin = dict(getattr(message.properties, "UserProperty", []))
        with self._heard:
            self.hops.add(origin.get("tifo-path"))
            before = self.newest.get(message.topic)
            if before and shown["sequence"] < before["sequence"]:
                self.backwards.append((before, shown))
            self.newest[message.topic] = shown
            self._heard.notify_all()

    def sequences(self):
        with self._heard:
            return {topic: shown["sequence"] for topic, shown in self.newest.items()}

    def wait_for(self, condition, seconds):
        """Until `condition(newest)` holds; the seconds that it took."""
        began = time.monotonic()
        with self._heard:
            assert self._heard.wait_for(lambda: condition(self.newest), seconds), f"not within {seconds} s: {self.newest}"
        return time.monotonic() - began

    def wait_for_news(self, seconds):
        """Until every channel has shown something newer than now."""
        before = self.sequences()
        return self.wait_for(lambda newest: all(newest[topic]["sequence"] > last for topic, last in before.items()), seconds)
