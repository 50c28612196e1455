"""The records of every case: 10,000, keyed, with headers, always the same, and told apart by a sequence number."""
import json
import random
from dataclasses import dataclass

RECORDS = 10_000
KEYS = 997
SEED = 20260101
HEADER_BLOCKS = 4
# Distinct times in steps, out of order by up to three steps: a look-up by time must look into the batch.
STEP_MS = 10
JITTER_STEPS = 3


@dataclass(frozen=True)
class Sent:
    seq: int
    key: str
    value: str
    headers: tuple
    timestamp: int

    def line(self):
        return json.dumps({"k": self.key, "v": self.value, "h": self.headers, "t": self.timestamp},
                          ensure_ascii=False)


def seq_of(value):
    return int(value.split(" ", 1)[0])


def workload(start_ms, header_per_record=True, records=RECORDS, first=0):
    """`header_per_record` is false for clients whose headers hold for a whole run (kcat)."""
    rng, made = random.Random(SEED + first), []
    for seq in range(first, first + records):
        label = seq if header_per_record else f"block-{(seq - first) * HEADER_BLOCKS // records}"
        headers = (("trace", f"t-{label}"), ("source", "protocol-tests"), ("mood", "😂 cheer"))
        key = f"fan-{rng.randrange(KEYS)} ⚽"
        value = f"{seq} {'goal! ' * rng.randrange(4, 24)}{rng.getrandbits(128):032x} 🎉"
        step = seq * JITTER_STEPS + rng.randrange(JITTER_STEPS) * JITTER_STEPS
        made.append(Sent(seq, key, value, headers, start_ms + step * STEP_MS + seq % STEP_MS))
    return made


def stdin_of(records):
    return "".join(record.line() + "\n" for record in records)
