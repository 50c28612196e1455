"""The gateways on a cluster elsewhere: taps go in with both acknowledgements, windows come out to viewers, groups are shown."""

import json

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from outside import Outside, refused, stream
from rig import eventually, read_topic
from swarm import Viewer

TAPS = 2_000
WINDOWS = 20
REACTIONS = 300


@pytest.fixture
def names(target):
    return target.new_name("outside"), target.new_name("outside-raw"), target.new_name("outside-counts")


@pytest.fixture
def gateways(binary, target, names, places):
    running = Outside(binary, target.bootstrap, "http,mqtt", stream(*names), places.logs / "outside.log")
    yield running
    running.end()


def tap(number):
    return {"emoji_id": "e1", "user_id": f"u{number % 97}", "timestamp": 1_500_000_000_000 + number, "emoji_type": "x",
            "message_id": f"m{number}", "recipient_id": "ch-1", "channel_id": f"ch-{number % 7}", "event_id": "test",
            "metadata": {"reaction": "x", "emotion": "joy"}}


def test_taps_are_where_the_answers_say_and_none_is_lost(gateways, target, names):
    name, raw, _ = names
    assert gateways.ready["kafka"] == target.bootstrap and "data_dir" not in gateways.ready
    placed = {}
    for first in range(0, TAPS, 500):
        taps = [tap(number) for number in range(first, first + 500)]
        status, answer = gateways.ask(f"/v1/streams/{name}/events?ack=committed", taps)
        assert status == 200, answer
        placed.update({one["message_id"]: (at["topic"], at["partition"], at["offset"]) for one, at in zip(taps, answer["results"])})
    taps = [tap(number) for number in range(TAPS, TAPS + 1000)]
    assert gateways.ask(f"/v1/streams/{name}/events?ack=buffered", taps) == (202, {"accepted": 1000})
    gateways.stop()
    stored = {}
    for record in read_topic(target.bootstrap, raw):
        assert record.json()["message_id"] not in stored, "a tap is there twice"
        stored[record.json()["message_id"]] = raw, record.partition, record.offset
    assert len(stored) == TAPS + 1000
    assert {key: stored[key] for key in placed} == placed
    assert len({partition for _, partition, _ in placed.values()}) == 3


def test_windows_are_shown_whole_once_their_transaction_is_over(gateways, target, names):
    name, _, into = names
    admin = AdminClient({"bootstrap.servers": target.bootstrap})
    admin.create_topics([NewTopic(into, 1)])[into].result(30)
    viewer = Viewer(gateways.ready["mqtt"], f"streams/{name}/+")
    producer = Producer({"bootstrap.servers": target.bootstrap, "transactional.id": into, "batch.num.messages": 100})
    producer.init_transactions(30)
    for window in range(WINDOWS):
        for is_kept in (False, True):
            producer.begin_transaction()
            for reaction in range(REACTIONS):
                row = {"window_start": window * 2000, "window_end": window * 2000 + 2000, "channel_id": "ch-1",
                       "reaction": f"r{reaction}", "count": reaction + 1 if is_kept else 1_000_000, "rev": 0, "final": True}
                producer.produce(into, json.dumps(row), f"r{reaction}", partition=0, timestamp=window * 2000 + 1999)
            producer.flush(30)
            producer.commit_transaction(30) if is_kept else producer.abort_transaction(30)
    eventually(lambda: len(viewer.windows) >= WINDOWS, seconds=30)
    total = REACTIONS * (REACTIONS + 1) // 2
    assert not viewer.conflicts, "a window was shown in parts, or an aborted one"
    assert {(shown["total"], shown["groups"]) for shown in viewer.windows.values()} == {(total, REACTIONS)}
    viewer.close()
    check_position(gateways, target, name, into)


def check_position(gateways, target, name, into):
    """Delivery is an ordinary group of the cluster, and the gateway shows it."""
    group = f"tifo-mqtt-{name}"
    consumer = Consumer({"bootstrap.servers": target.bootstrap, "group.id": group})
    end = consumer.get_watermark_offsets(TopicPartition(into, 0), timeout=10)[1]

    def caught_up():
        """the group's position is the last window's end"""
        return consumer.committed([TopicPartition(into, 0)], timeout=10)[0].offset >= end - 1

    eventually(caught_up, seconds=30)
    consumer.close()
    status, shown = gateways.ask(f"/v1/groups/{group}")
    assert status == 200, shown
    offset = [(one["topic"], one["partition"], one["log_end"]) for one in shown["offsets"]]
    assert offset == [(into, 0, end)] and shown["lag"] <= 1, shown
    status, listed = gateways.ask("/v1/groups")
    assert status == 200 and group in [one["group"] for one in listed["groups"]]


def test_what_a_remote_cluster_cannot_do_is_said(gateways, binary, target, names):
    status, problem = gateways.ask("/v1/producers", {})
    assert status == 501 and "remote cluster" in problem["detail"], problem
    said = refused(binary, "--bootstrap", target.bootstrap, "--roles", "broker,http")
    assert "no broker runs here" in said
    assert "HOST:PORT" in refused(binary, "--bootstrap", "nowhere", "--roles", "http")
    assert "--bootstrap HOST:PORT" in refused(binary, "--roles", "http,mqtt")
