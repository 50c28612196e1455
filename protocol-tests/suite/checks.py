"""What must hold of records that went through a broker. Pure functions over what was sent and what was received."""
from collections import defaultdict

from suite.workload import seq_of


def by_partition(received):
    found = defaultdict(list)
    for record in received:
        found[record["p"]].append(record)
    return found


def check_content(sent, received, with_timestamp):
    """Every record that arrived is one that was sent, unchanged."""
    expected = {record.seq: record for record in sent}
    for got in received:
        want = expected.get(seq_of(got["v"]))
        assert want is not None, f"nobody sent {got}"
        assert (got["k"], got["v"]) == (want.key, want.value), f"sent {want}, got {got}"
        assert tuple(map(tuple, got["h"])) == want.headers, f"headers: sent {want}, got {got}"
        if with_timestamp:
            assert got["t"] == want.timestamp, f"timestamp: sent {want}, got {got}"


def check_complete(sent, received):
    """Nothing lost, nothing twice, each partition in order and without holes, each key on one partition."""
    seqs = [seq_of(record["v"]) for record in received]
    lost = {record.seq for record in sent} - set(seqs)
    assert not lost, f"{len(lost)} of {len(sent)} records lost: {sorted(lost)[:10]}"
    assert len(seqs) == len(sent), f"{len(seqs) - len(sent)} records twice"
    owner = {}
    for partition, records in by_partition(received).items():
        offsets = [record["o"] for record in records]
        assert offsets == list(range(len(offsets))), f"partition {partition}: offsets are {offsets[:5]}… out of order"
        order = [seq_of(record["v"]) for record in records]
        assert order == sorted(order), f"partition {partition} is not in the order of production"
        for record in records:
            assert owner.setdefault(record["k"], partition) == partition, f"key {record['k']} on two partitions"


def check_split(assignments, partitions):
    """Each member owns something, nobody owns the same, together they own all."""
    assert all(assignments), f"a member has nothing: {assignments}"
    everything = [p for assigned in assignments for p in assigned]
    assert sorted(everything) == list(range(partitions)), f"not a split of {partitions} partitions: {assignments}"


def next_offsets(received):
    return {p: records[-1]["o"] + 1 for p, records in by_partition(received).items()}


def check_committed(committed, received, partitions):
    """What the broker has committed is exactly what was delivered; nothing delivered is no commit, or one of 0."""
    expected = next_offsets(received)
    for p in range(partitions):
        allowed = {expected[p]} if p in expected else {0, None}
        assert committed.get(p) in allowed, f"partition {p}: committed {committed.get(p)}, delivered up to {expected.get(p)}"


def check_continues(before, after):
    """The first record after a restart is the one behind the last before it, on every partition."""
    resumed = next_offsets(before)
    for partition, records in by_partition(after).items():
        first = records[0]["o"]
        assert first == resumed.get(partition, 0), f"partition {partition} goes on at {first}, not {resumed.get(partition, 0)}"


def first_at_or_after(received, timestamp, partitions):
    """Per partition the offset of the first record with at least this timestamp, -1 where there is none."""
    found = {p: -1 for p in range(partitions)}
    for partition, records in by_partition(received).items():
        found[partition] = next((r["o"] for r in records if r["t"] >= timestamp), -1)
    return found


def probe_times(received):
    """Times to look up: before everything, inside the log at three places, after everything."""
    times = sorted(record["t"] for record in received)
    inside = [times[len(times) * share // 100] for share in (33, 50, 90)]
    return [times[0] - 1000, *inside, times[-1] + 60_000]
