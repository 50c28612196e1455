"""kill -9 at random points under load, every kind of window at once: nothing missing, nothing twice, output again in time."""

import json
import os
import random
import threading
import time
import urllib.request

import pytest
from confluent_kafka import Producer

import windows
from rig import Tifo, eventually, read_topic

# 1,000 by protocol-tests/pipeline/soak.
KILLS = int(os.environ.get("TIFO_KILLS", "100"))
RATE = 1000
SECONDS_A_KILL = 40
# From "just back" to "in full flow".
ACKNOWLEDGEMENTS_BEFORE_A_KILL = (1, 250)
# From the ready line to the first new rows of a window: 2,000 for a release build on a machine of its own, more for CI's debug build among others.
OUTPUT_AGAIN_MS = int(os.environ.get("TIFO_OUTPUT_AGAIN_MS", "20000"))
PARTITIONS = 4


class Load:
    """Events of now, some out of order, some that are too late, some that cannot be read, into all partitions by turns."""

    def __init__(self, bootstrap, seed):
        self.random, self.failed, self.acknowledged, self.stopped = random.Random(seed), [], 0, threading.Event()
        self.producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 2, "log_level": 2,
                                  "message.timeout.ms": 300_000, "reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 50,
                                  "retry.backoff.ms": 10, "retry.backoff.max.ms": 50})
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        number = 0
        while not self.stopped.wait(0.01):
            for number in range(number, number + RATE // 100):
                self.producer.produce("taps", self.event(number), partition=number % PARTITIONS, on_delivery=self.delivered)
            number += 1
            self.producer.poll(0)

    def event(self, number):
        pick = self.random.random()
        if pick < 0.01:
            return self.random.choice(['{"t":1', "no", '{"t":"soon","channel":"c"}', '{"channel":"c","user":"u"}'])
        behind = self.random.randrange(2000) if pick < 0.03 else self.random.randrange(200)
        event = {"t": int(time.time() * 1000) - behind, "channel": f"c{self.random.randrange(50)}", "user": f"u{self.random.randrange(5000)}"}
        fields = list(event.items())
        if pick > 0.9:
            self.random.shuffle(fields)
        return json.dumps(dict(fields) | {"x": {"channel": "no", "n": number}}, separators=(",", ":") if pick > 0.5 else None)

    def delivered(self, error, _):
        self.acknowledged += not error
        if error:
            self.failed.append(str(error))

    def stop(self):
        self.stopped.set()
        self.thread.join()
        assert self.producer.flush(60) == 0 and not self.failed, self.failed[:5]


def is_readable(value):
    try:
        event = json.loads(value)
        return (event["t"], event["channel"], event["user"]) if isinstance(event["t"], int) else None
    except (ValueError, KeyError):
        return None


@pytest.mark.timeout(180 + KILLS * SECONDS_A_KILL)
def test_every_window_is_there_once_whenever_the_process_was_killed(binary, tmp_path):
    seed = int(os.environ.get("TIFO_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"TIFO_SEED={seed}")
    settings = tmp_path / "tifo.toml"
    settings.write_text(windows.settings())
    tifo = Tifo(binary, tmp_path / "data", "--roles", "broker,aggregator,http", "--config", str(settings)).start()
    try:
        load, chance = Load(tifo.ready["kafka"], seed), random.Random(seed)
        eventually(lambda: decisions(tifo) > 5)
        again_ms = [kill(tifo, load, chance.randint(*ACKNOWLEDGEMENTS_BEFORE_A_KILL)) for _ in range(KILLS)]
        load.stop()
        print(f"{KILLS} kills, output again after {sorted(again_ms)[len(again_ms) // 2]:.0f} ms (median), {max(again_ms):.0f} ms (longest)")
        judge(tifo)
        assert max(again_ms) < OUTPUT_AGAIN_MS
        assert tifo.terminate() == 0
    finally:
        tifo.close()


def status(tifo):
    with urllib.request.urlopen(f"{tifo.http}/v1/aggregates", timeout=10) as answer:
        return {aggregate["name"]: aggregate for aggregate in json.load(answer)["aggregates"] if aggregate["name"] in windows.WINDOWS}


def decisions(tifo):
    return status(tifo)["tumble"]["decisions"]


def kill(tifo, load, more):
    """When so many more are acknowledged; how long after the ready line the first new window came."""
    wanted = load.acknowledged + more
    eventually(lambda: load.acknowledged >= wanted, every=0.001)
    tifo.kill()
    tifo.start()
    began, before = time.monotonic(), decisions(tifo)
    eventually(lambda: decisions(tifo) > before, seconds=SECONDS_A_KILL, every=0.01)
    return (time.monotonic() - began) * 1000


def judge(tifo):
    raw = [[] for _ in range(PARTITIONS)]
    for record in sorted(read_topic(tifo.ready["kafka"], "taps"), key=lambda record: (record.partition, record.offset)):
        assert record.offset == len(raw[record.partition])
        raw[record.partition].append(is_readable(record.value))
    total, bad = sum(map(len, raw)), {(p, o) for p, events in enumerate(raw) for o, event in enumerate(events) if event is None}
    for kind in windows.WINDOWS:
        rows, late = windows.truth(kind, raw)
        eventually(lambda: is_done(status(tifo)[kind], total), seconds=60, every=0.2)
        assert origins(tifo, f"{kind}-bad") == bad, kind
        assert origins(tifo, f"{kind}-late") == late, kind
        found = written(tifo, kind)
        missing, surplus = rows.keys() - found.keys(), found.keys() - rows.keys()
        different = [key for key in rows.keys() & found.keys() if rows[key] != found[key]]
        assert not (missing or surplus or different), (kind, sorted(missing)[:3], sorted(surplus)[:3], different[:3])
        assert status(tifo)[kind]["counted"] == total - len(late) - len(bad)
        print(f"{kind}: {total} events, {len(late)} late, {len(bad)} bad, {len(rows)} rows, each once and right")


def is_done(aggregate, total):
    return aggregate["counted"] + aggregate["late"] + aggregate["bad"] == total and aggregate["open_window_count"] == 0


def written(tifo, kind):
    found = {}
    for record in read_topic(tifo.ready["kafka"], f"{kind}-out"):
        row = record.json()
        key = row["window_start"], row["window_end"], row["channel"]
        assert key not in found, f"{kind}: twice: {row}"
        found[key] = row["count"]
    return found


def origins(tifo, topic):
    """(partition, offset) of what a late or bad topic holds, each once."""
    header = lambda record, name: int(record.headers[f"tifo-source-{name}"])
    found = [(header(record, "partition"), header(record, "offset")) for record in read_topic(tifo.ready["kafka"], topic)]
    assert len(found) == len(set(found)), f"{topic} holds a record twice"
    return set(found)
