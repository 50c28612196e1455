"""The aggregator's metrics on `/metrics` of a real process: names, labels and values, for a handful of events."""

import json
import re
import time
import urllib.request

from confluent_kafka import Producer

from rig import Tifo, eventually

SETTINGS = """
[[aggregate]]
name = "taps"
from = "taps"
into = "taps-out"
time = { field = "t" }
window = { tumble = "1s" }
group_by = ["channel"]
grace = "0s"
idle_close = "200ms"
max_future = "5s"
partitions = 1
"""
LONG_AGO_MS = 1_500_000_000_000
AN_HOUR_MS = 3_600_000
LINE = re.compile(r'^tifo_aggregator_(\w+)\{([^}]*aggregate="taps"[^}]*)\} (\S+)$', re.MULTILINE)


def events():
    """Three that count, in two windows; one whose window is closed, one whose clock is ahead, one that cannot be read."""
    times = [LONG_AGO_MS, LONG_AGO_MS + 100, LONG_AGO_MS + 1200, LONG_AGO_MS + 50, int(time.time() * 1000) + AN_HOUR_MS]
    return [json.dumps({"t": at, "channel": f"c{at % 1000 == 100:d}"}) for at in times] + ["no"]


def metrics(tifo):
    with urllib.request.urlopen(f"{tifo.http}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    label = lambda labels: tuple(re.findall(r'(?:outcome|which|partition)="(\w+)"', labels))
    return {(name, *label(labels)): float(value) for name, labels, value in LINE.findall(text)}


def test_metrics_tell_what_became_of_every_event(binary, tmp_path):
    settings = tmp_path / "tifo.toml"
    settings.write_text(SETTINGS)
    tifo = Tifo(binary, tmp_path / "data", "--roles", "broker,aggregator,http", "--config", str(settings)).start()
    try:
        producer = Producer({"bootstrap.servers": tifo.ready["kafka"]})
        for event in events():
            producer.produce("taps", event, partition=0)
        assert producer.flush(40) == 0
        wanted = {
            ("events_total", "counted"): 3, ("events_total", "late"): 2, ("events_total", "bad"): 1,
            ("events_of_those_total", "clipped"): 1, ("events_of_those_total", "repeated"): 0, ("events_of_those_total", "partial"): 0,
            ("skipped_offsets_total",): 0, ("windows_closed_total",): 2, ("rows_total",): 3, ("open_windows",): 0,
            ("consumer_lag_records", "0"): 0, ("watermark_timestamp_seconds", "0"): (LONG_AGO_MS + 1200) / 1000,
            ("window_lag_seconds_count",): 2,
        }
        shown = {}

        def is_all_told():
            shown.update(metrics(tifo))
            return all(shown.get(name) == value for name, value in wanted.items())

        try:
            eventually(is_all_told)
        except AssertionError:
            raise AssertionError({name: (value, shown.get(name)) for name, value in wanted.items() if shown.get(name) != value}) from None
        assert 1 <= shown["decisions_total",] <= 2
        assert shown["parse_seconds_count",] >= 1
    finally:
        tifo.close()
