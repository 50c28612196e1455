"""What the producers say: which records they sent, and which were acknowledged at which offset.

Filled line by line while the load runs; pure but for that. Compact, as a long run has millions of records.
"""
from array import array
from collections import defaultdict

IN_DOUBT = -2  # Sent, and neither acknowledged nor given up: it may be there or not.
NO_OFFSET = -1  # Acknowledged by a client that was not told the offset.


class Ledger:
    def __init__(self):
        self.offsets = defaultdict(lambda: array("q"))  # (producer, topic, partition) -> offset by number
        self.sent = {}  # (producer, topic, partition) -> how many it sent, said at the end
        self.gave_up = []
        self.acknowledged = defaultdict(int)  # by producer

    def take(self, line):
        """One line of a producer: `ack`, `gave-up` or `sent`."""
        word, producer, topic, partition, number, *rest = line.split(" ", 6)
        stream = producer, topic, int(partition)
        if word == "ack":
            self._acknowledge(stream, int(number), int(rest[0]))
        elif word == "sent":
            self.sent[stream] = int(number)
        elif word == "gave-up":
            self.gave_up.append(line)
        else:
            raise ValueError(line)

    def _acknowledge(self, stream, number, offset):
        offsets = self.offsets[stream]
        if number >= len(offsets):
            offsets.extend([IN_DOUBT] * (number + 1 - len(offsets)))
        offsets[number] = max(offset, NO_OFFSET)
        self.acknowledged[stream[0]] += 1

    def offset(self, stream, number):
        offsets = self.offsets.get(stream, ())
        return offsets[number] if number < len(offsets) else IN_DOUBT

    def streams(self):
        return sorted(self.sent.keys() | self.offsets.keys())
