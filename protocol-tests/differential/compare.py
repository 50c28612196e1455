"""Two brokers' answers to the same session, field by field, once what must differ between any two brokers is made alike."""
import re
import struct

HEADER_BYTES = 61
TRANSACTIONAL, CONTROL = 1 << 4, 1 << 5
# Ids that each broker draws for itself: named by the order in which a session first shows them.
DRAWN = {"topicId", "producerId", "memberId", "clusterId", "sessionId", "leader", "replicaDirectoryId", "clientInstanceId", "subscriptionId"}
NONE_OF_THESE = {None, "", -1, "00000000-0000-0000-0000-000000000000"}
# Places, and moments: only whether there is one is compared.
OWN = {"host", "port", "logDir", "logAppendTimeMs", "totalBytes", "usableBytes", "timestampMs", "startTimeMs", "lastTimestamp",
       "lastFetchTimestamp", "lastCaughtUpTimestamp", "transactionStartTimeMs"}
# Lists in the order of hash sets.
SETS = {"requestedMetrics"}
# Wording is each broker's own; whether there is a message is not.
WORDED = {"errorMessage", "documentation"}
# Lists that may be of all that there is: what names an item, and whether it stands there unasked.
SHARED_RESOURCES = {2, 16, 32}  # topics, client metrics, groups; brokers are known by their number
LISTS = {
    "groups": ("groupId", lambda group: "groupState" in group or "protocolType" in group),
    "configResources": ("resourceName", lambda resource: resource.get("resourceType", 16) in SHARED_RESOURCES),
    "topics": ("name", lambda topic: any("eligibleLeaderReplicas" in partition for partition in topic.get("partitions") or [])),
    "replicaElectionResults": ("topic", lambda result: not result["partitionResult"]),
}


def normalise(steps, own_name):
    """The session's answers with drawn ids named, own places hidden, lists of structures in one order; `own_name` stands in many."""
    drawn = {}
    return [(step.label, _value(_own_alone(step.answer, own_name), "", drawn, own_name)) for step in steps]


def _own_alone(answer, own_name):
    """Of a list of all that there is the session's own: others share the brokers, and when their things go is a matter of timers."""
    if not isinstance(answer, dict):
        return answer
    kept = {key: [item for item in answer[key] if not is_listed(item) or own_name in item.get(name, "")]
            for key, (name, is_listed) in LISTS.items() if answer.get(key)}
    return {**answer, **kept}


def _value(value, name, drawn, own_name):
    if isinstance(value, dict):
        return {key: _value(item, key, drawn, own_name) for key, item in value.items()}
    if isinstance(value, list):
        items = [_value(item, name, drawn, own_name) for item in value]
        return sorted(items, key=repr) if name in SETS or items and isinstance(items[0], dict) else items
    if isinstance(value, bytes):
        return batches_of(value) if name == "records" else value.hex()
    if name in WORDED:
        return None if value is None else "words"
    if name in OWN:
        return value if value in (-1, None) else "own"
    if name == "sessionId" and value == 0:
        return 0
    if name in DRAWN and value not in NONE_OF_THESE:
        return f"{name} {drawn.setdefault((name, value), sum(1 for kind, _ in drawn if kind == name) + 1)}"
    return value.replace(own_name, "$topic") if isinstance(value, str) else value


def batches_of(records):
    """Batches byte for byte, but for those of transactions: they bear a producer id that the broker drew, markers their own moment too."""
    shown = []
    while len(records) >= HEADER_BYTES:
        base, length = struct.unpack_from(">qi", records)
        batch, records = records[:length + 12], records[length + 12:]
        attributes, last_delta = struct.unpack_from(">hi", batch, 21)
        epoch, sequence, count = struct.unpack_from(">hii", batch, 51)
        if not attributes & TRANSACTIONAL:
            shown.append(batch.hex())
            continue
        body = batch[HEADER_BYTES:].hex() if not attributes & CONTROL else f"marker {batch[HEADER_BYTES + 7:HEADER_BYTES + 9].hex()}"
        shown.append(f"offset {base} +{last_delta}, attributes {attributes}, epoch {epoch}, sequence {sequence}, {count} records: {body}")
    return [*shown, records.hex()] if records else shown


def differences(tifo, kafka):
    """[(step, path, Tifo's value, Kafka's value)]"""
    found = []
    for (label, ours), (_, theirs) in zip(tifo, kafka, strict=True):
        found += [(label, *difference) for difference in _differences(ours, theirs, "")]
    return found


def _differences(ours, theirs, path):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = []
        for key in dict.fromkeys([*ours, *theirs]):
            found += _differences(ours.get(key), theirs.get(key), f"{path}.{key}" if path else str(key))
        return found
    if isinstance(ours, list) and isinstance(theirs, list):
        if ours != theirs and (name := _naming(ours, theirs)):
            return _differences({item[name]: item for item in ours}, {item[name]: item for item in theirs}, path)
        if len(ours) != len(theirs):
            return [(f"{path}.length", len(ours), len(theirs))]
        return [found for one, other in zip(ours, theirs) for found in _differences(one, other, f"{path}.*")]
    return [] if ours == theirs else [(path or "answer", ours, theirs)]


def _naming(ours, theirs):
    """The field by which structures of both lists are told apart, if there is one."""
    for name in ("name", "apiKey"):
        if all(isinstance(item, dict) and item.get(name) is not None for item in ours + theirs):
            if all(len({item[name] for item in items}) == len(items) for items in (ours, theirs)):
                return name
    return None


class Explained:
    """The differences that are meant; docs/compatibility.md tells each."""

    def __init__(self, rows):
        self.rows, self.used = rows, set()

    def explains(self, api, session, difference):
        label, path, ours, theirs = difference
        for index, row in enumerate(self.rows):
            if row["api"] not in (api, label.split(" ")[1], "*"):
                continue
            if not re.fullmatch(row["path"], path) or not re.fullmatch(str(row.get("session", ".*")), session):
                continue
            if all(name not in row or re.fullmatch(str(row[name]), str(value)) for name, value in (("tifo", ours), ("kafka", theirs))):
                self.used.add(index)
                return True
        return False

    def unused(self):
        return [row for index, row in enumerate(self.rows) if index not in self.used]
