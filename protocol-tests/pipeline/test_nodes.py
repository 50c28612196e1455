"""The fan-out tree as processes, main <- bridge <- publish <- subscribe: each is killed in turn under load, nobody sees the past."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest

import nodes
from nodes import CHANNELS, Crowd, Node, Watcher
from rig import Tifo, eventually, read_topic
from suite.targets import free_port

PATIENCE_SECONDS = 60
# From the kill.
BACK_SECONDS = 5
# How long a cluster that is too large stays so: time enough for viewers to come.
HOLD_SECONDS = 15


class Tree:
    """One node of each role in a chain, and a second subscribe node."""

    def __init__(self, binary, folder):
        settings = folder / "tifo.toml"
        settings.write_text(nodes.SETTINGS)
        self.main = Tifo(binary, folder / "main", "--config", settings).start()
        self.bridge = Node(binary, folder, "bridge", "bridge", self.main.ready["mqtt"]).start()
        self.publish = Node(binary, folder, "publish", "publish", self.bridge.mqtt).start()
        self.subscribe = Node(binary, folder, "subscribe", "subscribe", self.publish.mqtt).start()
        self.other = Node(binary, folder, "other", "subscribe", self.publish.mqtt).start()

    def processes(self):
        return [self.other, self.subscribe, self.publish, self.bridge, self.main]

    def shown(self):
        """What the main node knows of the tree."""
        with urllib.request.urlopen(f"{self.main.http}/v1/mqtt/cluster", timeout=10) as answer:
            return json.load(answer)

    def close(self):
        for process in self.processes():
            process.close()


@pytest.fixture(scope="module")
def tree(binary, tmp_path_factory):
    tree = Tree(binary, tmp_path_factory.mktemp("nodes"))
    yield tree
    tree.close()


@pytest.fixture
def watchers(tree):
    watchers = [Watcher(tree.subscribe.mqtt), Watcher(tree.other.mqtt)]
    yield watchers
    for watcher in watchers:
        watcher.close()


@pytest.fixture
def crowd(tree):
    crowd = Crowd(tree.main.http)
    yield crowd
    crowd.end()


def all_channels(newest):
    return len(newest) >= len(CHANNELS)


@pytest.mark.parametrize("victim", ["subscribe", "publish", "bridge", "main"])
def test_kill_9_of_each_role_under_load(tree, watchers, crowd, victim):
    for watcher in watchers:
        watcher.wait_for(all_channels, PATIENCE_SECONDS)
    process, killed = getattr(tree, victim), time.monotonic()
    process.kill()
    process.start()
    for watcher in watchers:
        watcher.wait_for_news(killed + BACK_SECONDS - time.monotonic())
    print(f"{victim}: all viewers have news {time.monotonic() - killed:.1f} s after the kill")
    crowd.end()
    check_conservation(tree, watchers)
    for watcher in watchers:
        assert not watcher.backwards, f"an older state after a newer one: {watcher.backwards[:3]}"
        # Main, bridge, publish, subscribe: each hop has added its name.
        assert all(path.count(",") == 3 for path in watcher.hops), watcher.hops


def check_conservation(tree, watchers):
    """The last value that each viewer sees per channel is the aggregate topic's."""
    def settled():
        """every viewer shows the last final window of every channel"""
        expected = totals(tree)
        return all({topic: (shown["window_end"], shown["total"]) for topic, shown in watcher.newest.items()} == expected
                   for watcher in watchers)

    eventually(settled, seconds=20)


def totals(tree):
    """{topic: (end of the last window, its total)} by the aggregate topic."""
    windows = {}
    for record in read_topic(tree.main.ready["kafka"], "emoji-counts"):
        row = record.json()
        if row["final"]:
            window = windows.setdefault((row["channel_id"], row["window_end"]), {})
            window[row["reaction"]] = row["count"]
    last = {}
    for (channel, window_end), counts in sorted(windows.items()):
        last[f"streams/emoji/{channel}"] = (window_end, sum(counts.values()))
    return last


def test_the_main_node_shows_the_tree(tree, watchers, crowd):
    watchers[0].wait_for(all_channels, PATIENCE_SECONDS)

    def whole():
        """main, bridge, publish and both subscribe nodes with their viewers"""
        node, roles = tree.shown(), []
        while node:
            roles.append(node["role"])
            below = node["nodes"]
            node = below[0] if below else None
        return roles == ["main", "bridge", "publish", "subscribe"] and len(subscribe_nodes(tree)) == 2 and \
            all(node["connections"] == 1 and node["connected"] for node in subscribe_nodes(tree))

    eventually(whole, seconds=10)


def subscribe_nodes(tree, cluster="c"):
    def below(node):
        yield node
        for child in node["nodes"]:
            yield from below(child)

    return [node for node in below(tree.shown()) if (node["role"], node["cluster"]) == ("subscribe", cluster)]


def test_a_publish_node_starts_its_cluster_and_takes_it_along(tree, binary, tmp_path, crowd):
    publish = Node(binary, tmp_path, "east", "publish", tree.main.ready["mqtt"], "--cluster", "east", "--autoscale", "2..3").start()
    try:
        started = eventually(lambda: [node for node in subscribe_nodes(tree, "east") if node["connected"]][1:] and subscribe_nodes(tree, "east"), seconds=20)
        assert all(node["websocket"].startswith("ws://127.0.0.1:") for node in started)
        watcher = Watcher(started[0]["address"])
        watcher.wait_for(all_channels, PATIENCE_SECONDS)
        watcher.close()
        assert publish.terminate() == 0
        eventually(lambda: not subscribe_nodes(tree, "east"), seconds=10)
        for node in started:
            host, port = node["address"].rsplit(":", 1)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, int(port)), 5).close()
    finally:
        publish.close()


def test_a_node_that_drains_sends_its_viewers_on_by_tcp_and_websocket(tree, binary, tmp_path, crowd, monkeypatch):
    # Two nodes where one is enough, for so long: the one with fewer viewers goes.
    monkeypatch.setenv("TIFO_MQTT__SCALE_HOLD_MS", str(HOLD_SECONDS * 1_000))
    publish = Node(binary, tmp_path, "west", "publish", tree.main.ready["mqtt"], "--cluster", "west", "--autoscale", "0..1").start()
    started, watchers = [publish], []
    try:
        for name in ("staying", "leaving"):
            started.append(Node(binary, tmp_path, name, "subscribe", publish.mqtt, "--cluster", "west").start())
        _, staying, leaving = started
        watchers = [Watcher(staying.mqtt) for _ in range(3)]
        moving = [Watcher(leaving.mqtt), Watcher(leaving.ready["mqtt_ws"])]
        watchers += moving
        for watcher in watchers:
            watcher.wait_for(all_channels, PATIENCE_SECONDS)
        assert leaving.process.wait(PATIENCE_SECONDS) == 0
        for watcher, wanted in zip(moving, (staying.mqtt, staying.ready["mqtt_ws"]), strict=True):
            watcher.wait_for_news(BACK_SECONDS)
            ((_, reason, reference),) = watcher.moves
            assert (reason, reference) == ("Server moved", wanted)
        eventually(lambda: [node["connections"] for node in subscribe_nodes(tree, "west")] == [len(watchers)], seconds=10)
        crowd.end()
        check_conservation(tree, watchers)
        assert not any(watcher.backwards for watcher in watchers), "an older state after a newer one"
    finally:
        for each in [*watchers, *reversed(started)]:
            each.close()


@pytest.fixture
def mosquitto(tmp_path):
    """A broker that is not ours."""
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"allow_anonymous true\npersistence false\nlistener {port} 127.0.0.1\n")
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    started = []

    def start():
        started.append(subprocess.Popen([program, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return started[-1]

    start.address = f"127.0.0.1:{port}"
    yield start
    for process in started:
        process.kill()
        process.wait(10)


def test_a_bridge_to_mosquitto_brings_the_whole_state_again_when_it_restarts(tree, binary, tmp_path, mosquitto, crowd):
    broker = mosquitto()
    bridge = Node(binary, tmp_path, "out", "bridge", tree.main.ready["mqtt"], "--downstream", f"mqtt://{mosquitto.address}").start()
    watcher = Watcher(mosquitto.address)
    try:
        watcher.wait_for(all_channels, PATIENCE_SECONDS)
        watcher.wait_for_news(BACK_SECONDS)
        crowd.end()
        check_conservation(tree, [watcher])
        broker.kill()
        broker.wait(10)
        watcher.newest.clear()
        mosquitto()
        watcher.wait_for(all_channels, BACK_SECONDS)
        check_conservation(tree, [watcher])
        assert not watcher.backwards
    finally:
        watcher.close()
        bridge.close()
