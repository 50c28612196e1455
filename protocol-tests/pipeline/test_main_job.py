"""The main job on real input: taps in over HTTP, counted exactly once, the swarm out over MQTT; with and without kill -9."""

import collections
import json
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

import recount
from rig import Tifo, eventually, read_topic
from swarm import Viewer

SPEED = 600
REPLAY_SECONDS = 120
# The swarm is watched this far before the process is killed: of about 1,800 windows.
KILL_AFTER_WINDOWS = 300


@pytest.fixture
def tifo(binary, tmp_path):
    process = Tifo(binary, tmp_path / "data")
    yield process.start()
    process.close()


def replay(tifo, ack):
    command = [tifo.binary, "replay", str(recount.RECORDED), "--to", tifo.http, "--speed", str(SPEED), "--ack", ack]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process):
    output, _ = process.communicate(timeout=REPLAY_SECONDS)
    assert process.returncode == 0, output.decode()
    return output.decode()


def test_every_tap_is_counted_once_and_shown(tifo):
    viewer = Viewer(tifo.ready["mqtt"], "streams/emoji/+")
    finish(replay(tifo, "committed"))
    late = check_counts(tifo)
    assert not late, "in order and without a pause nothing may be late"
    check_swarm(tifo, viewer)
    assert tifo.terminate() == 0


def test_kill_9_in_the_middle_loses_nothing_and_counts_nothing_twice(tifo):
    viewer = Viewer(tifo.ready["mqtt"], "streams/emoji/+")
    sender = replay(tifo, "committed")
    eventually(lambda: len(viewer.windows) >= KILL_AFTER_WINDOWS)
    tifo.kill()
    assert sender.poll() is None, "the replay was over before the kill"
    tifo.start()
    finish(sender)
    check_counts(tifo)
    check_swarm(tifo, viewer)


def check_counts(tifo):
    """Raw topic, aggregate topic and late topic against the recorded events; returns the late events."""
    events = recount.recorded_events()
    raw = read_topic(tifo.ready["kafka"], "emoji")
    assert len(raw) == len(events) == 26924
    assert collections.Counter(r.json()["message_id"] for r in raw) == collections.Counter(e["message_id"] for e in events)

    def all_counted():
        """every event is in the aggregate or the late topic"""
        found = rows(tifo), late(tifo)
        return found if sum(found[0].values()) + len(found[1]) >= len(events) else None

    counted, came_late = eventually(all_counted, every=0.5)
    assert sum(counted.values()) + len(came_late) == len(events)
    assert counted == recount.counts(events) - recount.counts(came_late)
    return came_late


def rows(tifo):
    """{(window, channel, reaction): count}; a row that stands twice fails here."""
    found = {}
    for record in read_topic(tifo.ready["kafka"], "emoji-counts"):
        row = record.json()
        key = row["window_start"], row["channel_id"], row["reaction"]
        assert key not in found, f"window counted twice: {row}"
        assert row["final"] is True and row["rev"] == 0 and row["window_end"] == row["window_start"] + recount.WINDOW_MS
        assert record.key.decode() == f"{row['channel_id']}|{row['reaction']}|{row['window_start']}"
        assert record.timestamp == row["window_end"] - 1
        found[key] = row["count"]
    return found


def late(tifo):
    return [record.json() for record in read_topic(tifo.ready["kafka"], "emoji-late")]


def check_swarm(tifo, viewer):
    """Every channel ends with its last window, and whatever was shown on the way is right: who lags gets the newest."""
    expected = recount.swarms(rows(tifo))
    last = {channel: window for window, channel in sorted(expected)}
    eventually(lambda: all((window, channel) in viewer.windows for channel, window in last.items()), seconds=20)
    viewer.close()
    assert not viewer.conflicts, "one window was shown with different content"
    assert set(viewer.windows) <= set(expected)
    print(f"{len(viewer.windows)} of {len(expected)} windows were shown")
    for key, shown in viewer.windows.items():
        total, groups, top = expected[key]
        assert (shown["total"], shown["groups"]) == (total, groups)
        assert [(group["reaction"], group["count"]) for group in shown["top"]] == top
        for group in shown["top"]:
            assert group["share"] == pytest.approx(group["count"] / total, abs=1e-3)


def test_sigterm_loses_nothing_that_was_answered_202(tifo):
    accepted, senders, stop = [], [], threading.Event()

    def send(sender):
        for number in range(100000):
            batch = [tap(f"s{sender}-{number}-{index}") for index in range(20)]
            if stop.is_set() or not post(tifo.http, batch):
                return
            accepted.extend(event["message_id"] for event in batch)

    for sender in range(4):
        senders.append(threading.Thread(target=send, args=(sender,)))
        senders[-1].start()
    eventually(lambda: len(accepted) > 4000)
    assert tifo.terminate() == 0
    stop.set()
    for sender in senders:
        sender.join(10)
    assert accepted
    tifo.start()
    stored = collections.Counter(record.json()["message_id"] for record in read_topic(tifo.ready["kafka"], "emoji"))
    missing = [message_id for message_id in accepted if stored[message_id] != 1]
    assert not missing, f"{len(missing)} of {len(accepted)} accepted taps are not in the log exactly once: {missing[:5]}"


def tap(message_id):
    return {"emoji_id": "e1", "user_id": f"u{hash(message_id) % 997}", "timestamp": int(time.time() * 1000), "emoji_type": "🔥",
            "message_id": message_id, "recipient_id": "ch-test", "channel_id": "ch-test", "event_id": "test",
            "metadata": {"reaction": "🔥", "emotion": "excitement"}}


def post(http, events):
    """True when answered 202; False when the process is gone or says that it stops."""
    request = urllib.request.Request(f"{http}/v1/streams/emoji/events?ack=buffered", data=json.dumps(events).encode(),
                                     headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status == 202
    except urllib.error.HTTPError as error:
        assert error.code == 503, error.read()
        return False
    except OSError:
        return False
