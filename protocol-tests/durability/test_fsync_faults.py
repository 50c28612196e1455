"""Durability "fsync" on a disk that fails or stalls, for real: by strace's fault injection on a running broker."""
import pytest

from durability.client import OK, STORAGE_ERROR, Client, fill, number
from durability.faults import SYNCS, WRITES, active_log, injected

# Far longer than an undisturbed answer takes, far shorter than the client's patience.
STALL = "2500ms"


def test_a_failed_fsync_takes_its_partition_offline_until_the_restart(tifo, strict):
    for topic in ("sick", "sound"):
        assert strict.create(topic, tifo_durability="fsync") is OK
        fill(strict, topic, 0, 10)
    with injected(tifo.process.pid, f"{SYNCS}:error=EIO", path=active_log(tifo, "sick")):
        assert strict.produce("sick", number(10)) == (None, STORAGE_ERROR)
        fill(strict, "sound", 10, 10)
    # The disk is well again; what the kernel dropped is not, so the partition stays offline.
    assert strict.produce("sick", number(11)) == (None, STORAGE_ERROR)
    fill(strict, "sound", 20, 10)
    assert strict.create("later") is OK
    tifo.kill()
    tifo.start()
    strict = Client(tifo.ready["kafka"])
    kept = strict.read("sick")
    assert kept[:10] == [number(index) for index in range(10)] and len(kept) <= 12, kept
    assert strict.produce("sick", b"after") == (len(kept), OK)
    assert strict.read("sound") == [number(index) for index in range(30)]


def test_the_second_fsync_that_fails_is_as_bad_as_the_first(tifo, strict):
    """The n-th call: some groups of waiting producers were already answered well."""
    assert strict.create("sick", tifo_durability="fsync") is OK
    fill(strict, "sick", 0, 1)
    with injected(tifo.process.pid, f"{SYNCS}:error=EIO:when=3+", path=active_log(tifo, "sick")):
        answers = [strict.produce("sick", number(index)) for index in range(1, 6)]
    taken = [offset for offset, error in answers if error is OK]
    assert answers == [(1, OK), (2, OK)] + [(None, STORAGE_ERROR)] * 3, answers
    tifo.kill()
    tifo.start()
    assert Client(tifo.ready["kafka"]).read("sick")[:1 + len(taken)] == [number(index) for index in range(1 + len(taken))]


@pytest.mark.parametrize("calls, durability", [(SYNCS, "fsync"), (WRITES, "page-cache")])
def test_a_disk_that_stalls_on_one_partition_delays_no_other(tifo, strict, calls, durability):
    config = {"tifo_durability": durability} if durability == "fsync" else {}
    for topic in ("sick", "sound"):
        assert strict.create(topic, **config) is OK
        fill(strict, topic, 0, 1)
    others = [Client(tifo.ready["kafka"]) for _ in range(4)]
    for other in others:
        assert other.produce("sound", b"connected")[1] is OK
    with injected(tifo.process.pid, f"{calls}:delay_enter={STALL}", path=active_log(tifo, "sick")):
        stalled = [other.send("sick", b"stalled") for other in others]
        for _ in range(20):
            assert strict.produce("sound", b"at once")[1] is OK
        assert not any(answer.there() for answer in stalled), "the disk did not stall, or everybody waited for it"
        assert [answer.get()[1] for answer in stalled] == [OK] * len(stalled)
