"""The swarm by stock MQTT clients: taps go in over HTTP, every subscriber of `streams/emoji/+` gets the window's top list.

The same subscribers hear mosquitto first: a subscriber that fails there is found to be wrong.
"""
import json
import os
import shutil
import time
import urllib.request
import uuid
from types import SimpleNamespace

import pytest

from suite import process, subscribers
from suite.process import Deadline
from suite.targets import free_port

# More reactions than the top list holds, each with a count of its own.
COUNTS = {f"reaction-{n:02}": 3 * n + 1 for n in range(14)}
TOP = 10
WINDOW_MS = 2_000
FILTER = "streams/emoji/+"
FIELDS = {"stream", "channel_id", "window_start", "window_end", "rev", "final", "sequence", "total", "groups", "top"}
SHARE_ERROR = 1e-3
HTTP_S = 20
# Longer than its own patience with any one step.
LIFE_S = 240
MOSQUITTO_STARTS = 5
MOSQUITTO_START_S = 10


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory):
    """The reference broker. A port that was free may be taken before mosquitto has it: then others are tried."""
    for _ in range(MOSQUITTO_STARTS):
        broker, child = start_mosquitto(tmp_path_factory.mktemp("mosquitto"))
        if answers(broker):
            yield broker
            child.end()
            return
        child.end()
    pytest.fail("mosquitto does not start")


def start_mosquitto(folder):
    """MQTT over TCP and over WebSocket."""
    tcp, ws = free_port(), free_port()
    config = folder / "mosquitto.conf"
    config.write_text(f"allow_anonymous true\npersistence false\nlistener {tcp} 127.0.0.1\n"
                      f"listener {ws} 127.0.0.1\nprotocol websockets\n", encoding="utf-8")
    # Debian keeps it in a folder that only root's PATH names.
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    child = process.Child([program, "-c", config])
    return SimpleNamespace(mqtt=f"127.0.0.1:{tcp}", mqtt_ws=f"ws://127.0.0.1:{ws}/mqtt"), child


def publish(broker, topic, payload):
    host, port = broker.mqtt.rsplit(":", 1)
    process.run(["mosquitto_pub", "-h", host, "-p", port, "-t", topic, "-m", payload])


@pytest.mark.parametrize("name", subscribers.NAMES)
def test_subscriber_against_mosquitto(name, mosquitto, places, ending):
    subscriber = subscribers.Subscriber(name, places, mosquitto, FILTER)
    ending(subscriber)
    publish(mosquitto, "streams/other/final", '{"not":"ours"}')
    publish(mosquitto, "streams/emoji/final", '{"cheer":"⚽ goal"}')
    assert next(subscriber.messages(Deadline())) == ("streams/emoji/final", {"cheer": "⚽ goal"})


@pytest.mark.parametrize("level", ["4", "5"])
def test_life_of_paho_java_against_mosquitto(level, mosquitto, places):
    assert_life(places, mosquitto, level)


@pytest.mark.tifo_only
@pytest.mark.parametrize("level", ["4", "5"])
def test_life_of_paho_java(level, tifo, places):
    assert_life(places, tifo, level)


def assert_life(places, broker, level):
    """Retained messages, both qualities, a will, and a session that goes on: as helpers/java/mqtt/PahoJava tells them."""
    prefix = f"clients/{uuid.uuid4()}"
    host, port = broker.mqtt.rsplit(":", 1)
    said = process.run(subscribers.paho_java(places, "life", host, port, level, prefix), timeout=LIFE_S)

    def message(topic, payload, qos, retained=False):
        return {"topic": f"{prefix}/{topic}", "payload": payload, "qos": qos, "retained": retained}

    assert [json.loads(line) for line in said.splitlines()] == [
        {"session": False}, {"granted": [0, 1]}, message("kept", "retained", 0, retained=True), message("0/news", "quality 0", 0),
        message("1/news", "quality 1", 1), message("lost/news", "will", 1), {"session": True}, message("away/news", "while away", 1), {"done": True}]


def answers(broker):
    deadline = Deadline(MOSQUITTO_START_S)
    while not deadline.passed():
        try:
            publish(broker, "ready", "yes")
            return True
        except process.ProcessFailed:
            pass
    return False


def tap(channel, reaction, timestamp):
    return {"emoji_id": reaction, "user_id": f"user-{uuid.uuid4()}", "timestamp": timestamp, "emoji_type": "animation",
            "message_id": str(uuid.uuid4()), "recipient_id": "all", "channel_id": channel, "event_id": "final",
            "metadata": {"reaction": reaction, "emotion": "happy"}}


def post(tifo, taps):
    request = urllib.request.Request(f"http://{tifo.http}/v1/streams/emoji/events?ack=committed", method="POST",
                                     data=json.dumps(taps).encode(), headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=HTTP_S) as answer:
        assert answer.status == 200, answer.read()


@pytest.mark.tifo_only
@pytest.mark.parametrize("name", subscribers.NAMES)
def test_the_swarm(name, tifo, places, ending):
    channel = f"channel-{uuid.uuid4()}"
    subscriber = subscribers.Subscriber(name, places, tifo, FILTER)
    ending(subscriber)
    now = int(time.time() * 1000)
    post(tifo, [tap(channel, reaction, now) for reaction, count in COUNTS.items() for _ in range(count)])
    swarm = next(message for topic, message in subscriber.messages(Deadline()) if topic == f"streams/emoji/{channel}")
    assert set(swarm) == FIELDS
    assert (swarm["stream"], swarm["channel_id"]) == ("emoji", channel)
    assert swarm["window_start"] == now - now % WINDOW_MS
    assert swarm["window_end"] == swarm["window_start"] + WINDOW_MS
    assert (swarm["total"], swarm["groups"]) == (sum(COUNTS.values()), len(COUNTS))
    largest = sorted(COUNTS.items(), key=lambda pair: -pair[1])[:TOP]
    assert [(row["reaction"], row["count"]) for row in swarm["top"]] == largest
    for row in swarm["top"]:
        assert set(row) == {"reaction", "count", "share", "score"}
        assert abs(row["share"] - row["count"] / swarm["total"]) < SHARE_ERROR, row
