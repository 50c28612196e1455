"""The offline truth: what the windows and the swarm must show for a list of events."""

import collections
import gzip
import json
import pathlib

WINDOW_MS = 2000
TOP = 10
RECORDED = pathlib.Path(__file__).resolve().parents[2] / "data" / "emoji-fight.jsonl.gz"


def recorded_events():
    with gzip.open(RECORDED, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def group_of(event):
    window = event["timestamp"] // WINDOW_MS * WINDOW_MS
    return window, event["channel_id"], event["metadata"]["reaction"]


def counts(events):
    return collections.Counter(group_of(event) for event in events)


def swarms(rows):
    """{(window, channel): (total, groups, [(reaction, count), ...])} of {(window, channel, reaction): count}."""
    windows = collections.defaultdict(list)
    for (window, channel, reaction), count in rows.items():
        windows[window, channel].append((reaction, count))
    return {
        key: (sum(count for _, count in groups), len(groups),
              sorted(groups, key=lambda group: (-group[1], group[0].encode()))[:TOP])
        for key, groups in windows.items()
    }
