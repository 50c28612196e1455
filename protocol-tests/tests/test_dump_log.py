"""Apache Kafka's dump-log reads every kind of file that the broker keeps of a partition."""
import json
import re
import time

import pytest

from suite import clients, dump_log
from suite.workload import workload

SEGMENT_BYTES = 1_048_576
RECORDS = 10_000
ROUNDS = 2
GROUP_RECORDS = 100
SNAPSHOT_ENTRY = re.compile(r"producerId: (?P<producer>\d+) producerEpoch: 0 .*lastSequence: (?P<sequence>\d+) lastOffset: (?P<offset>\d+) ")


@pytest.fixture(scope="module")
def rolled(target, places, tool_server):
    """A topic of one partition with several segments. The segments' base offsets are the names of its files."""
    topic = target.new_name("rolled")
    tool_server().run("topics", "--bootstrap-server", target.bootstrap, "--create", "--topic", topic,
                      "--partitions", 1, "--config", f"segment.bytes={SEGMENT_BYTES}")
    producer = clients.make("kafka-python", places, tool_server)
    start = int(time.time() * 1000) - 3_600_000
    for number in range(ROUNDS):
        sent = workload(start, records=RECORDS, first=number * RECORDS)
        assert producer.produce(target, topic, "none", True, sent) == RECORDS
    return topic


def dump(tool_server, files, *options):
    lines = tool_server().run("dump-log", *options, "--files", ",".join(map(str, files)))
    for line in lines:
        dump_log.check_no_complaint(line)
    return lines


def test_segments_follow_each_other(target, rolled, tool_server):
    files = target.files(rolled, 0, ".log")
    assert len(files) > 1
    assert all(re.fullmatch(r"\d{20}", file.stem) for file in files)
    assert all(file.stat().st_size <= SEGMENT_BYTES for file in files)
    batches = dump_log.read(tool_server(), [files])
    firsts = [int(file.stem) for file in files]
    assert set(firsts) <= {batch.base for batch in batches}
    offsets = [record["o"] for batch in batches for record in batch.records]
    assert offsets == list(range(RECORDS * ROUNDS))
    dump_log.check_sequences(sorted(batches, key=lambda b: b.base))


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
def test_indexes_fit_the_log(target, rolled, tool_server, suffix):
    files = target.files(rolled, 0, suffix)
    logs = [file.stem for file in target.files(rolled, 0, ".log")]
    # A broker may keep the active segment's index in memory until the segment is sealed.
    assert [file.stem for file in files] in (logs, logs[:-1])
    dump(tool_server, files, "--verify-index-only")
    # Not the active segment's: its index may be allocated ahead, and the check takes the zeros behind for entries.
    sealed = [file for file in files if file.stem != logs[-1]]
    sane = dump(tool_server, sealed, "--index-sanity-check")
    assert sum("passed sanity check" in line for line in sane) == len(logs) - 1, sane


def test_indexes_are_filled(target, rolled, tool_server):
    """A sealed segment of 1 MiB has an entry every 4 KiB at most, so at least some dozens at Kafka's batch sizes."""
    sealed = target.files(rolled, 0, ".index")[0]
    entries = [line for line in dump(tool_server, [sealed]) if line.startswith("offset: ")]
    positions = [int(line.rsplit(" ", 1)[1]) for line in entries]
    assert len(entries) > 10 and positions == sorted(set(positions)), entries[:5]
    times = dump(tool_server, [sealed.with_suffix(".timeindex")])
    stamps = [int(line.split()[1]) for line in times if line.startswith("timestamp: ")]
    assert len(stamps) > 10 and stamps == sorted(set(stamps)), stamps[:5]


def test_producer_snapshots(target, rolled, tool_server):
    """A snapshot at a segment's base offset holds the last batch that each producer wrote below it."""
    batches = sorted(dump_log.read(tool_server(), [target.files(rolled, 0, ".log")]), key=lambda batch: batch.base)
    # A broker keeps those of the last segments, and may keep one at the log's end.
    snapshots = [file for file in target.files(rolled, 0, ".snapshot") if int(file.stem) > 0]
    assert snapshots
    for file in snapshots:
        expected = {}
        for batch in (batch for batch in batches if batch.base < int(file.stem)):
            expected[batch.producer] = (batch.sequence + batch.count - 1, batch.last)
        found = {}
        for line in dump(tool_server, [file]):
            if entry := SNAPSHOT_ENTRY.search(line):
                found[int(entry["producer"])] = (int(entry["sequence"]), int(entry["offset"]))
        assert found == expected, file


def test_leader_epoch_checkpoint_and_partition_metadata(target, rolled):
    """Kafka's text files beside the segments: version, then content."""
    folder = target.partition_dir(rolled, 0)
    epochs = (folder / "leader-epoch-checkpoint").read_text(encoding="ascii").splitlines()
    assert epochs[0] == "0" and int(epochs[1]) == len(epochs) - 2 and epochs[2].endswith(" 0"), epochs
    metadata = (folder / "partition.metadata").read_text(encoding="ascii").splitlines()
    assert metadata[0] == "version: 0" and re.fullmatch(r"topic_id: [\w-]{22}", metadata[1]), metadata


def test_consumer_offsets(target, places, tool_server):
    """Kafka's decoder reads the group's commits and its metadata out of __consumer_offsets."""
    client = clients.make("confluent-kafka", places, tool_server)
    topic = target.new_name("committed")
    group = f"group-{topic}"
    client.create(target, topic, 1)
    client.produce(target, topic, "none", False, workload(int(time.time() * 1000), records=GROUP_RECORDS))
    member = client.member(target, topic, group, GROUP_RECORDS)
    try:
        member.wait_reached()
        member.commit()
        member.stop()
    finally:
        member.end()
    partitions = sorted(p for p in target_root(target).glob("**/__consumer_offsets-*") if p.is_dir())
    files = [file for folder in partitions for file in folder.glob("*.log")]
    assert files
    lines = dump(tool_server, files, "--offsets-decoder", "--deep-iteration")
    decoded = [decode(line) for line in lines if line.startswith("| ") and group in line]
    commits = [value for key, value in decoded if key["data"].get("topic") == topic]
    assert commits and commits[-1]["data"]["offset"] == GROUP_RECORDS, decoded
    described = [value for key, value in decoded if "topic" not in key["data"]]
    assert described, "the group itself is not there"
    generations = [value["data"]["generation"] for value in described if value]
    assert generations == sorted(generations) and generations[-1] >= 1, described


def target_root(target):
    from pathlib import Path
    return Path(target.data_dir)


def decode(line):
    """`| offset: … key: {…} payload: {…}`: both are JSON; a tombstone's payload is not."""
    key, payload = line.split(" key: ", 1)[1].split(" payload: ", 1)
    return json.loads(key), json.loads(payload) if payload.startswith("{") else None
