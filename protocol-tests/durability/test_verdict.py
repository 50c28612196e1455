"""The checker finds every kind of fault, and finds none where there is none."""
import zlib
from array import array

import pytest

from durability import verdict
from durability.ledger import Ledger

PRODUCERS = ("one", "two")
RECORDS = 40
KEYS = 7
TOPIC, PARTITION = "log", 0


def value(producer, number, topic=TOPIC, partition=PARTITION):
    stamp = f"{producer} {topic} {partition} {number}"
    return f"{stamp} {zlib.crc32(f'{stamp} goal!'.encode()):08x} goal!".encode()


def record(producer, number):
    return [f"{producer}-{number % KEYS}".encode(), value(producer, number)]


class Log:
    """A faultless broker: two producers whose records alternate, all acknowledged but the last of each."""

    def __init__(self):
        self.records = [record(producer, number) for number in range(RECORDS) for producer in PRODUCERS]
        self.ledger, self.start, self.cleanup = Ledger(), 0, "none"
        self.offsets = list(range(len(self.records)))
        for offset, (_, text) in enumerate(self.records[:-2]):
            producer, topic, partition, number, *_ = text.decode().split(" ")
            self.ledger.take(f"ack {producer} {topic} {partition} {number} {offset}")
        for producer in PRODUCERS:
            self.ledger.take(f"sent {producer} {TOPIC} {PARTITION} {RECORDS}")
        self.seen = array("q", [zlib.crc32(text) for _, text in self.records[:20]])
        self.end = len(self.records)

    def verdict(self):
        partition = verdict.Partition(self.ledger, TOPIC, PARTITION, self.start, self.cleanup, KEYS, self.seen)
        for offset, (key, text) in zip(self.offsets, self.records):
            partition.take(offset, key, text)
        return partition.finish(self.end)

    def drop(self, offset):
        """The record is gone, and those behind it have moved up."""
        del self.records[offset], self.offsets[-1]
        self.end -= 1

    def insert(self, offset, key, text):
        self.records.insert(offset, [key, text])
        self.offsets.append(self.end)
        self.end += 1

    def cut(self, below):
        """The first records are gone and the others stay where they were."""
        self.records, self.offsets = self.records[below:], self.offsets[below:]


def faults(log):
    counts = log.verdict().counts
    return {fault for fault in verdict.FAULTS if counts[fault]}


def test_a_faultless_log_passes():
    found = Log().verdict()
    assert {fault: found.counts[fault] for fault in verdict.FAULTS} == dict.fromkeys(verdict.FAULTS, 0), found.examples
    assert (found.counts["sent"], found.counts["acknowledged"], found.counts["records"]) == (80, 78, 80)


def test_what_was_in_doubt_may_be_missing():
    log = Log()
    log.drop(79)
    log.drop(78)
    assert faults(log) == set()


def lose_the_last(log):
    for _ in range(3):
        log.drop(len(log.records) - 1)


def swap(log):
    log.records[50], log.records[52] = log.records[52], log.records[50]


def flip_a_bit(log):
    key, text = log.records[60]
    log.records[60] = [key, bytes([text[0] ^ 1]) + text[1:]]


def change_the_key(log):
    log.records[60][0] = b"somebody"


def skip_offsets(log):
    log.offsets[70:] = [offset + 2 for offset in log.offsets[70:]]
    log.end += 2


FAULTS = {
    "lost at the end": (lose_the_last, {"lost"}),
    "lost in the middle": (lambda log: log.drop(60), {"lost", "misplaced"}),
    "lost, its offset skipped": (lambda log: (log.records.pop(60), log.offsets.pop(60)), {"lost", "hole"}),
    "a log that ends early": (lambda log: (log.records.pop(), log.offsets.pop()), {"hole"}),
    "twice": (lambda log: log.insert(80, *record("one", 38)), {"duplicated"}),
    "two records swapped": (swap, {"reordered", "misplaced"}),
    "a bit of the value": (flip_a_bit, {"altered", "lost"}),
    "another key": (change_the_key, {"altered", "lost"}),
    "a number that nobody sent": (lambda log: log.insert(80, *record("one", RECORDS)), {"phantom"}),
    "a producer that nobody knows": (lambda log: log.insert(80, *record("three", 1)), {"phantom"}),
    "another partition's record": (lambda log: log.insert(80, b"one-1", value("one", 1, partition=1)), {"phantom"}),
    "not what a client wrote at all": (lambda log: log.insert(80, b"one-1", b""), {"altered"}),
    "offsets that are skipped": (skip_offsets, {"hole", "misplaced"}),
    "what a reader saw is another record": (lambda log: log.seen.__setitem__(5, 1), {"vanished"}),
    "what a reader saw is not there": (lambda log: log.seen.extend([-1] * 60 + [1]), {"vanished"}),
    "lost at the start": (lambda log: (log.cut(10), setattr(log, "start", 10)), {"lost"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault):
    plant, expected = FAULTS[fault]
    log = Log()
    plant(log)
    assert faults(log) == expected, log.verdict().examples


def test_duplicates_are_counted_by_producer():
    log = Log()
    log.insert(80, *record("one", 38))
    log.insert(81, *record("one", 38))
    found = [log.verdict()]
    assert [verdict.duplicates_of(found, lambda stream: stream[0] == name) for name in PRODUCERS] == [2, 0]


def test_retention_may_take_what_lies_below_the_log_start_offset_only():
    log = Log()
    log.cleanup, log.start = "delete", 10
    log.cut(10)
    assert faults(log) == set()
    assert log.verdict().counts["expired"] == 10
    log.drop(40)
    assert faults(log) >= {"lost"}


def compacted(log):
    log.cleanup = "compact"
    kept = [(offset, r) for offset, r in zip(log.offsets, log.records) if int(r[1].split(b" ")[3]) >= RECORDS - KEYS]
    log.offsets, log.records = map(list, zip(*kept))
    return log


def test_compaction_may_take_what_a_later_record_supersedes():
    log = compacted(Log())
    assert faults(log) == set()
    assert log.verdict().counts["superseded"] == (RECORDS - KEYS) * 2


def test_compaction_that_takes_the_last_record_of_a_key_is_found():
    log = compacted(Log())
    del log.offsets[0], log.records[0]
    assert faults(log) == {"lost"}


def test_compaction_that_moves_a_record_is_found():
    log = compacted(Log())
    log.offsets[0] -= 1
    assert faults(log) == {"misplaced"}
