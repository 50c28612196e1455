"""What must hold of records that were copied exactly once, and of committed offsets over time. Pure functions."""
from collections import Counter


def copied(expected, found):
    """Both: the values of each partition, in order. What is wrong with what was found, in words; nothing: nothing is."""
    faults = []
    for partition in sorted(set(expected) | set(found)):
        wanted, got = expected.get(partition, []), found.get(partition, [])
        counts = Counter(got)
        lost = [value for value in wanted if not counts[value]]
        twice = [value for value, count in counts.items() if count > 1]
        strange = [value for value in counts if value not in set(wanted)]
        for name, values in (("lost", lost), ("twice", twice), ("never written", strange)):
            if values:
                faults.append(f"partition {partition}: {len(values)} {name}: {values[:5]}")
        if not (lost or twice or strange) and got != wanted:
            faults.append(f"partition {partition}: out of order")
    return faults


def counts_of_words(expected, found):
    """`expected`: how often each word was written; `found`: (word, count) in the order of each word's partition. Each update is there once."""
    seen, faults = {}, []
    for word, count in found:
        if count != seen.get(word, 0) + 1:
            faults.append(f"{word}: {count} after {seen.get(word, 0)}")
        seen[word] = count
    short = [f"{word}: {seen.get(word, 0)} of {count}" for word, count in expected.items() if seen.get(word, 0) != count]
    return faults[:10] + short[:10]


def went_back(observations):
    """Committed offsets {(topic, partition): offset} as they were seen one after the other: those that went back, or away."""
    last, faults = {}, []
    for seen in observations:
        for partition, offset in last.items():
            now = seen.get(partition)
            if now is None or now < offset:
                faults.append(f"{partition}: {now} after {offset}")
        last = {**last, **seen}
    return faults
