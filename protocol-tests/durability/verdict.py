"""The checker: what was acknowledged against what is in the log. Pure; `test_verdict.py` plants every kind of fault.

    lost        acknowledged, and not in the log
    misplaced   in the log, but not at the offset that was acknowledged
    duplicated  in the log more than once (a plain producer that retries may do that; an idempotent one may not)
    reordered   behind a later record of the same producer and partition
    altered     its checksum, or its key, does not fit
    phantom     sent by nobody, or to another partition
    hole        an offset that the log skips
    vanished    delivered to a reader during the run, and now something else or nothing

`cleanup` says what a topic may rightly miss: nothing ("none"), what lies below the log start offset ("delete"), or
records of which a later one has the same key ("compact").
"""
import zlib
from array import array
from collections import Counter
from dataclasses import dataclass

from durability.ledger import IN_DOUBT, NO_OFFSET

FAULTS = ("lost", "misplaced", "duplicated", "reordered", "altered", "phantom", "hole", "vanished")
SHOWN = 5


@dataclass(frozen=True)
class Message:
    """What a record's value says of itself: `PRODUCER TOPIC PARTITION NUMBER CRC FILLER`."""
    stream: tuple
    number: int

    @classmethod
    def parse(cls, value):
        """None when the checksum does not fit."""
        try:
            producer, topic, partition, number, crc, filler = value.split(b" ", 5)
            stamp = b" ".join((producer, topic, partition, number, filler))
            if int(crc, 16) != zlib.crc32(stamp):
                return None
            return cls((producer.decode(), topic.decode(), int(partition)), int(number))
        except ValueError:
            return None


class Partition:
    """One partition, read from its start to its end."""

    def __init__(self, ledger, topic, partition, start, cleanup="none", keys=0, seen=None):
        self.ledger, self.topic, self.partition = ledger, topic, partition
        self.start, self.cleanup, self.keys = start, cleanup, keys
        self.seen = seen if seen is not None else array("q")
        self.counts, self.examples = Counter(), []
        self.next_offset = start
        self.copies = {}  # stream -> how often each number came
        self.at_place = {}  # stream -> whether each number came at its acknowledged offset
        self.highest = {}  # stream -> highest number so far
        self.newest = {}  # (stream, key) -> highest number so far

    def take(self, offset, key, value):
        self.counts["records"] += 1
        self._take_offset(offset)
        self._compare_with_reader(offset, value)
        message = Message.parse(value)
        if message is None:
            self._found("altered", f"offset {offset}: {value[:60]!r}")
        elif message.number >= self.ledger.sent.get(message.stream, 0) or message.stream[1:] != (self.topic, self.partition):
            self._found("phantom", f"offset {offset}: {message}")
        elif self.keys and key != b"%s-%d" % (message.stream[0].encode(), message.number % self.keys):
            self._found("altered", f"offset {offset}: {message} has the key {key!r}")
        else:
            self._take_message(offset, message)

    def _take_offset(self, offset):
        if offset < self.next_offset or (offset > self.next_offset and self.cleanup != "compact"):
            self._found("hole", f"offset {offset} where {self.next_offset} was to come")
        self.next_offset = offset + 1

    def _compare_with_reader(self, offset, value):
        if offset < len(self.seen) and self.seen[offset] not in (-1, zlib.crc32(value)):
            self._found("vanished", f"offset {offset}: a reader saw another record there")

    def _take_message(self, offset, message):
        stream, number = message.stream, message.number
        copies = self.copies.setdefault(stream, bytearray(self.ledger.sent[stream]))
        first = copies[number] == 0
        copies[number] = min(copies[number] + 1, 255)
        if not first:
            self.counts["duplicated"] += 1
        elif number < self.highest.get(stream, -1):
            self._found("reordered", f"offset {offset}: {message} behind {self.highest[stream]}")
        self.highest[stream] = max(number, self.highest.get(stream, -1))
        if self.ledger.offset(stream, number) == offset:
            self.at_place.setdefault(stream, bytearray(self.ledger.sent[stream]))[number] = 1
        if self.keys:
            place = stream, number % self.keys
            self.newest[place] = max(number, self.newest.get(place, -1))

    def finish(self, end):
        """The log has been read up to `end`: what is missing now is lost."""
        if self.next_offset < end and self.cleanup != "compact":
            self._found("hole", f"the log ends at {end}, its records at {self.next_offset}")
        for stream in self.ledger.streams():
            if stream[1:] == (self.topic, self.partition):
                self._finish_stream(stream)
        beyond = [offset for offset in range(end, len(self.seen)) if self.seen[offset] != -1]
        for offset in beyond:
            self._found("vanished", f"offset {offset}: a reader saw a record there, and the log ends at {end}")
        return self

    def _finish_stream(self, stream):
        sent = self.ledger.sent.get(stream, 0)
        self.counts["sent"] += sent
        copies, at_place = self.copies.get(stream, bytearray(sent)), self.at_place.get(stream, bytearray(sent))
        for number, offset in enumerate(self.ledger.offsets.get(stream, ())):
            if offset == IN_DOUBT:
                continue
            self.counts["acknowledged"] += 1
            if number >= sent or not copies[number]:
                self._finish_missing(stream, number, offset)
            elif offset != NO_OFFSET and not at_place[number]:
                self._found("misplaced", f"{stream} {number} was acknowledged at {offset}")

    def _finish_missing(self, stream, number, offset):
        if self.cleanup == "delete" and (offset < self.start):
            self.counts["expired"] += 1
        elif self.cleanup == "compact" and self.newest.get((stream, number % max(self.keys, 1)), -1) > number:
            self.counts["superseded"] += 1
        else:
            self._found("lost", f"{stream} {number}, acknowledged at {offset}")

    def _found(self, fault, what):
        self.counts[fault] += 1
        if len(self.examples) < SHOWN:
            self.examples.append(f"{self.topic}-{self.partition}: {fault}: {what}")


def duplicates_of(partitions, stream_is_idempotent):
    """How many copies too many there are of records of the producers for which the function says so."""
    return sum(sum(copies) - sum(map(bool, copies)) for partition in partitions for stream, copies in partition.copies.items()
               if stream_is_idempotent(stream))


def total(partitions):
    return sum((partition.counts for partition in partitions), Counter())


def table(partitions):
    """One line per partition: what was counted."""
    columns = ("sent", "acknowledged", "records", "expired", "superseded", *FAULTS)
    rows = [("partition", *columns)]
    rows += [(f"{p.topic}-{p.partition}", *(str(p.counts[name]) for name in columns)) for p in partitions]
    rows.append(("all", *(str(total(partitions)[name]) for name in columns)))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows)
