"""Disks that fail, for real: by strace's fault injection on a running broker, and on a small file system.

What must hold: the fault stays with the partition it hit, what cannot be kept is refused with KAFKA_STORAGE_ERROR, what was
acknowledged stays, and what was refused is not in the log.
"""
from durability.client import OK, STORAGE_ERROR, Client, fill, number
from durability.faults import WRITES, active_log, injected, small_disk
from rig import Tifo

RECORD_BYTES = 10_000


def test_no_space_for_one_partition(tifo, strict):
    """Appends fail while there is no space, reads go on, appends resume by themselves; nobody else notices."""
    for topic in ("sick", "sound"):
        assert strict.create(topic) is OK
        fill(strict, topic, 0, 10)
    with injected(tifo.process.pid, f"{WRITES}:error=ENOSPC", path=active_log(tifo, "sick")):
        assert [strict.produce("sick", b"refused") for _ in range(3)] == [(None, STORAGE_ERROR)] * 3
        assert strict.read("sick") == [number(index) for index in range(10)]
        fill(strict, "sound", 10, 10)
    fill(strict, "sick", 10, 10)
    assert strict.read("sick") == strict.read("sound") == [number(index) for index in range(20)]


def test_no_file_descriptor(tifo, strict):
    """What needs a file is refused, what needs none goes on, and it passes when there are some again."""
    assert strict.create("open") is OK
    fill(strict, "open", 0, 10)
    with injected(tifo.process.pid, "openat:error=EMFILE"):
        assert strict.create("refused") is not OK
        fill(strict, "open", 10, 10)
    assert tifo.alive()
    assert strict.create("created") is OK
    assert strict.create("refused") is OK, "half of it was left behind"
    fill(strict, "refused", 0, 1)


def test_connections_that_cannot_be_accepted_are_accepted_later(tifo, strict):
    with injected(tifo.process.pid, "accept4:error=EMFILE:when=1..3"):
        assert strict.create("created") is OK
        fill(strict, "created", 0, 10)


def test_a_full_disk(binary, tmp_path):
    """Refused while it is full, read all the time, resumed when there is space again; also after a kill on the full disk."""
    with small_disk(tmp_path / "disk", 24) as disk:
        tifo = Tifo(binary, disk / "data", "--roles", "broker")
        tifo.log_path = tmp_path / "tifo.log"
        try:
            tifo.start()
            full_disk(tifo, disk)
        finally:
            tifo.close()


def full_disk(tifo, disk):
    strict, kept = Client(tifo.ready["kafka"]), []
    assert strict.create("log", segment_bytes="1048576") is OK
    (disk / "ballast").write_bytes(bytes(8_000_000))
    fill_up(strict, kept)
    assert strict.read("log") == kept
    assert strict.create("another") is not OK
    tifo.kill()
    tifo.start()
    strict = Client(tifo.ready["kafka"])
    assert strict.read("log") == kept
    (disk / "ballast").unlink()
    before = len(kept)
    for _ in range(100):
        kept.append(record(len(kept)))
        assert strict.produce("log", kept[-1]) == (len(kept) - 1, OK)
    assert strict.create("another") is OK
    fill_up(strict, kept)
    assert len(kept) > before + 100 and strict.read("log") == kept
    tifo.kill()


def record(index):
    return f"{index} ".encode().ljust(RECORD_BYTES, b".")


def fill_up(strict, kept):
    """Until nothing is taken any more, three times in a row."""
    refused = 0
    while refused < 3:
        offset, error = strict.produce("log", record(len(kept)))
        if error is OK:
            assert offset == len(kept), "what was refused is in the log"
            kept.append(record(len(kept)))
            refused = 0
        else:
            assert error == STORAGE_ERROR
            refused += 1
        assert len(kept) < 10_000, "the disk never filled"
