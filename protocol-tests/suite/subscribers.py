"""Stock MQTT clients as subscribers: each prints whether it is subscribed, then what it gets."""
import json
import queue
import re
import sys

from suite import process

FORMAT = "message\t%t\t%p"
NAMES = ["paho-mqtt", "paho-mqtt 5", "mqtt.js over WebSocket", "mqtt.js 5 over WebSocket", "mosquitto_sub", "mosquitto_sub 5",
         "Paho Java", "Paho Java 5"]


class Subscriber:
    def __init__(self, name, places, broker, topic_filter):
        """`broker` has `mqtt` (HOST:PORT) and `mqtt_ws` (a URL)."""
        host, port = broker.mqtt.rsplit(":", 1)
        # MQTT 3.1.1 is protocol level 4.
        client, level = (name.replace(" 5", ""), "5") if " 5" in name else (name, "4")
        version = {"4": "mqttv311", "5": "mqttv5"}[level]
        command = {
            "paho-mqtt": [sys.executable, places.helpers / "python" / "paho_subscriber.py", host, port, topic_filter, level],
            "mqtt.js over WebSocket": ["node", places.node / "mqttjs.js", broker.mqtt_ws, topic_filter, level],
            "mosquitto_sub": ["stdbuf", "-oL", "mosquitto_sub", "-d", "-V", version, "-h", host, "-p", port,
                              "-t", topic_filter, "-F", FORMAT],
            "Paho Java": paho_java(places, "subscriber", host, port, level, topic_filter),
        }[client]
        self._parse = parse_mosquitto_sub if client == "mosquitto_sub" else json.loads
        self._child = process.Child(command)
        self._event_with("subscribed", process.Deadline())

    def _event_with(self, word, deadline):
        while True:
            try:
                line = self._child.line(deadline.left())
            except queue.Empty:
                raise process.ProcessFailed(self._child.report(f"no `{word}` in time")) from None
            if line is None:
                self._child.wait()
                raise process.ProcessFailed(self._child.report("ended early"))
            event = self._parse(line)
            if event and word in event:
                assert event[word], self._child.report(f"{event}")
                return event

    def messages(self, deadline):
        """(topic, payload) of each message as it comes, until the caller has enough or the time is up."""
        while True:
            event = self._event_with("topic", deadline)
            yield event["topic"], json.loads(event["payload"])

    def end(self):
        self._child.end()


def paho_java(places, *words):
    lib = places.cache / "paho-java"
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{lib / 'classes'}:{lib / 'lib'}/*", "PahoJava", *words]


def parse_mosquitto_sub(line):
    if line.startswith("message\t"):
        _, topic, payload = line.split("\t", 2)
        return {"topic": topic, "payload": payload}
    granted = re.match(r"Subscribed \(mid: \d+\): (\d+)", line)
    return {"subscribed": int(granted.group(1)) < 128} if granted else None
