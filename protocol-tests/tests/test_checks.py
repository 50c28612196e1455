"""The checks themselves: what a broker could do wrong is found by each of them."""
import copy

import pytest

from suite import checks
from suite.workload import workload

SENT = workload(1_700_000_000_000, records=40)
PARTITIONS = 2


def received():
    """All of SENT as a faultless broker gives it back, keys spread over two partitions."""
    ends, found = [0] * PARTITIONS, []
    for record in SENT:
        partition = sum(record.key.encode()) % PARTITIONS
        found.append({"p": partition, "o": ends[partition], "t": record.timestamp, "k": record.key, "v": record.value,
                      "h": [list(header) for header in record.headers]})
        ends[partition] += 1
    return sorted(found, key=lambda r: (r["p"], r["o"]))


def check_all(records):
    checks.check_content(SENT, records, with_timestamp=True)
    checks.check_complete(SENT, records)


def test_a_faultless_broker_passes():
    check_all(received())


def swap_values(records):
    records[0]["v"], records[1]["v"] = records[1]["v"], records[0]["v"]


def swap_records(records):
    for name in ("k", "v", "h", "t"):
        records[0][name], records[1][name] = records[1][name], records[0][name]


FAULTS = {
    "lost at the end": lambda records: records.pop(),
    "lost in the middle": lambda records: records.pop(3),
    "twice": lambda records: records.append(copy.deepcopy(records[-1])),
    "twice under new offsets": lambda records: records.append({**records[-1], "o": records[-1]["o"] + 1}),
    "a hole in the offsets": lambda records: records[-1].update(o=records[-1]["o"] + 1),
    "out of order": swap_records,
    "another record's value": swap_values,
    "a changed key": lambda records: records[2].update(k="somebody"),
    "a changed value": lambda records: records[2].update(v=records[2]["v"] + "!"),
    "a header gone": lambda records: records[2]["h"].pop(),
    "headers in another order": lambda records: records[2]["h"].reverse(),
    "a changed timestamp": lambda records: records[2].update(t=records[2]["t"] + 1),
    "never sent": lambda records: records.append({**records[-1], "v": "99999 phantom", "o": records[-1]["o"] + 1}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault):
    records = received()
    FAULTS[fault](records)
    with pytest.raises(AssertionError):
        check_all(records)


@pytest.mark.parametrize("assignments", [[[0, 1], []], [[0, 1], [1]], [[0], [0]], [[0], []]])
def test_no_split(assignments):
    with pytest.raises(AssertionError):
        checks.check_split(assignments, PARTITIONS)


@pytest.mark.parametrize("moved", [-1, 1])
def test_commits_and_restarts_are_exact(moved):
    records = received()
    before = [record for record in records if record["o"] < 5]
    after = [record for record in records if record["o"] >= 5]
    checks.check_committed({0: 5, 1: 5}, before, PARTITIONS)
    checks.check_continues(before, after)
    with pytest.raises(AssertionError):
        checks.check_committed({0: 5 + moved, 1: 5}, before, PARTITIONS)
    with pytest.raises(AssertionError):
        checks.check_continues(before, [record for record in records if record["o"] >= 5 + moved])


def test_the_first_record_at_or_after_a_time():
    records = [{"p": 0, "o": offset, "t": time} for offset, time in enumerate([10, 30, 20, 40])]
    found = [checks.first_at_or_after(records, time, 1)[0] for time in (0, 10, 11, 20, 30, 31, 40, 41)]
    assert found == [0, 0, 1, 1, 1, 3, 3, -1]
