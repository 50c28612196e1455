"""Taps by MQTT: `taps/{stream}` leads into the same ingest as HTTP, and what is refused is told as far as the protocol can."""

import json
import threading
import time
import urllib.request

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from rig import Tifo, eventually, read_topic

PATIENCE_SECONDS = 20
TAPS = 300


@pytest.fixture(scope="module")
def tifo(binary, tmp_path_factory):
    tifo = Tifo(binary, tmp_path_factory.mktemp("taps") / "data").start()
    yield tifo
    tifo.close()


class Tapper:
    """A stock client that publishes and keeps each PUBACK."""

    def __init__(self, tifo, protocol=mqtt.MQTTv5, transport="tcp", properties=None):
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=protocol, transport=transport)
        self.answers, self.gone, self._heard = {}, threading.Event(), threading.Condition()
        connected = threading.Event()
        self.client.on_connect = lambda *_: connected.set()
        self.client.on_disconnect = lambda *_: self.gone.set()
        self.client.on_publish = self._on_publish
        if transport == "websockets":
            self.client.ws_set_options(path="/mqtt")
        host, port = tifo.ready["mqtt" if transport == "tcp" else "http"].rsplit(":", 1)
        more = {"properties": properties} if properties else {}
        self.client.connect(host, int(port), **more)
        self.client.loop_start()
        assert connected.wait(PATIENCE_SECONDS)

    def _on_publish(self, _client, _userdata, packet_id, reason, properties):
        with self._heard:
            self.answers[packet_id] = (reason, getattr(properties, "ReasonString", None))
            self._heard.notify_all()

    def tap(self, payload, qos=1, topic="taps/emoji"):
        """What the node says to it: the reason code's name, and its words."""
        packet_id = self.client.publish(topic, payload, qos).mid
        with self._heard:
            assert self._heard.wait_for(lambda: packet_id in self.answers, PATIENCE_SECONDS), "no answer"
            reason, words = self.answers[packet_id]
        return str(reason), words

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def tapper(tifo):
    tapper = Tapper(tifo)
    yield tapper
    tapper.close()


def event(user, channel="ch", **more):
    return json.dumps({"user_id": user, "channel_id": channel, "timestamp": int(time.time() * 1000), "metadata": {"reaction": "fire"}} | more)


def users(tifo, channel):
    """The users of the raw topic's events of a channel, by a stock Kafka client."""
    return [record.json()["user_id"] for record in read_topic(tifo.ready["kafka"], "emoji") if record.json()["channel_id"] == channel]


def refused(tifo, reason):
    with urllib.request.urlopen(f"{tifo.http}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f'tifo_mqtt_taps_refused_total{{reason="{reason}"}}'))


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
@pytest.mark.parametrize("protocol", [mqtt.MQTTv311, mqtt.MQTTv5], ids=["3.1.1", "5"])
@pytest.mark.parametrize("qos", [1, 2])
def test_an_answered_tap_is_in_the_raw_topic(tifo, protocol, transport, qos):
    channel = f"answered-{transport}-{protocol}-{qos}"
    tapper = Tapper(tifo, protocol, transport)
    for number in range(5):
        assert tapper.tap(event(f"u{number}", channel), qos)[0] == "Success"
        assert users(tifo, channel).count(f"u{number}") == 1, "it is there when its answer comes"
    tapper.tap(f"[{event('a', channel)},{event('b', channel)}]", qos)
    assert sorted(users(tifo, channel)) == ["a", "b", "u0", "u1", "u2", "u3", "u4"]
    tapper.close()


def test_taps_of_quality_0_follow_in_order(tifo, tapper):
    for number in range(TAPS):
        tapper.client.publish("taps/emoji", event("one", "order", emoji_id=str(number)), qos=0)

    def numbers():
        return [record.json()["emoji_id"] for record in read_topic(tifo.ready["kafka"], "emoji") if record.json()["channel_id"] == "order"]

    eventually(lambda: len(numbers()) >= TAPS, seconds=PATIENCE_SECONDS)
    assert numbers() == [str(number) for number in range(TAPS)]


def test_a_tap_is_counted_and_shown_on_the_same_connection(tapper):
    shown, came = [], threading.Event()

    def on_message(_client, _userdata, message):
        shown.append((message.topic, json.loads(message.payload)))
        came.set()

    tapper.client.on_message = on_message
    tapper.client.subscribe("#", qos=1)
    tapper.tap(event("u", "shown"))
    assert came.wait(PATIENCE_SECONDS)
    eventually(lambda: any(topic == "streams/emoji/shown" and mood["total"] == 1 for topic, mood in shown), seconds=PATIENCE_SECONDS)
    assert not any(topic.startswith("taps/") for topic, _ in shown), "nobody overhears taps"


def test_what_is_refused_is_told_with_a_reason_and_words(tifo, tapper):
    before = {reason: refused(tifo, reason) for reason in ("unknown_stream", "bad_event", "limit")}
    for topic, payload, reason, word, label in [
        ("taps/other", event("u"), "Topic name invalid", "there are: emoji", "unknown_stream"),
        ("taps/emoji/more", event("u"), "Topic name invalid", "there are: emoji", "unknown_stream"),
        ("taps/emoji", "{", "Payload format invalid", "line 1", "bad_event"),
        ("taps/emoji", "", "Payload format invalid", "no event", "bad_event"),
        ("taps/emoji", '{"user_id":"u"}', "Payload format invalid", "channel_id", "bad_event"),
        ("taps/emoji", event("u", pad="x" * 100_000), "Quota exceeded", "bytes", "limit"),
    ]:
        found, words = tapper.tap(payload, 1, topic)
        assert found == reason and word in words, (topic, payload[:50], found, words)
        # Nobody waits for an answer to quality 0: dropped, counted, and the connection stays.
        tapper.client.publish(topic, payload, qos=0)
        before[label] += 2
    eventually(lambda: {label: refused(tifo, label) for label in before} == before, seconds=PATIENCE_SECONDS)
    assert tapper.tap(event("u", "after"))[0] == "Success"
    assert users(tifo, "after") == ["u"] and not tapper.gone.is_set()


def test_a_refused_tap_of_quality_2_is_over_with_its_pubrec(tapper):
    # paho does not look at PUBREC's reason and goes on: what it releases is not there any more (4.3.3).
    assert tapper.tap("{", qos=2)[0] == "Packet identifier not found"
    assert tapper.tap(event("u"), qos=2)[0] == "Success"


def test_words_are_for_those_who_take_them(tifo):
    properties = Properties(PacketTypes.CONNECT)
    properties.RequestProblemInformation = 0
    tapper = Tapper(tifo, properties=properties)
    assert tapper.tap("{") == ("Payload format invalid", None)
    tapper.close()


def test_3_1_1_has_no_refusal_so_the_connection_ends(tifo):
    tapper = Tapper(tifo, mqtt.MQTTv311)
    tapper.client.publish("taps/emoji", "{", qos=1)
    assert tapper.gone.wait(PATIENCE_SECONDS)
    tapper.close()
