"""`tifo aggregate rebuild`: the same rows again in another topic, while the aggregate itself goes on; and words where it cannot."""

import json
import subprocess

import pytest

import recount
from rig import Tifo, eventually, read_topic

FROM, FROM_MS = "2017-08-27T04:30:01Z", 1503808200000


@pytest.fixture
def tifo(binary, tmp_path):
    process = Tifo(binary, tmp_path / "data")
    yield process.start()
    process.close()


def run(tifo, *words):
    return subprocess.run([tifo.binary, *words], capture_output=True, text=True, timeout=120)


def rows(tifo, topic):
    return [(record.key, record.value) for record in read_topic(tifo.ready["kafka"], topic)]


def test_a_rebuild_equals_the_live_run(tifo):
    sent = run(tifo, "replay", str(recount.RECORDED), "--to", tifo.http, "--speed", "100000")
    assert sent.returncode == 0, sent.stderr
    expected = len(recount.counts(recount.recorded_events()))
    live = eventually(lambda: (found := rows(tifo, "emoji-counts")) and len(found) == expected and found, every=0.5)
    for into, more, wanted in [
        ("whole", [], live),
        ("part", ["--from", FROM], [row for row in live if json.loads(row[1])["window_start"] >= FROM_MS]),
    ]:
        done = run(tifo, "aggregate", "rebuild", "emoji", "--into", into, "--server", tifo.http, *more)
        assert done.returncode == 0, done.stderr
        assert rows(tifo, into) == wanted
    unknown = run(tifo, "aggregate", "rebuild", "emojo", "--into", "other", "--server", tifo.http)
    assert unknown.returncode != 0 and "there is no aggregate `emojo`" in unknown.stderr
