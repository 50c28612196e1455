"""Every stock client with every codec, against both brokers, the whole way of a record.

create -> a group of two splits the partitions -> 10,000 records -> each member reads a part, commits, stops -> a new member
goes on in the middle of batches -> look-ups by time -> Apache Kafka's dump-log reads the segments.

Old versions, and libraries whose kin go that way, go it once, with fewer records, and then through all codecs in one topic.
"""
import time
from dataclasses import dataclass

import pytest

from suite import checks, clients, dump_log
from suite.matrix import CODECS
from suite.process import Deadline
from suite.workload import RECORDS, workload

PARTITIONS = 4


@dataclass(frozen=True)
class Load:
    records: int
    # What each of the two members reads before the restart: less than one partition's share of a usual hash, in mid-batch.
    read_before_restart: int


FULL = Load(RECORDS, 1_777)
SHORT = Load(2_000, 333)
SHORT_CODEC = "lz4"
RECORDS_PER_CODEC = 200
REFRESH_S = 0.05
AN_HOUR_MS = 3_600_000
IDEMPOTENT_CODECS = ("none", "lz4")


def create_topic(client, target, observers, topic, creator):
    if client.creates_topics:
        client.create(target, topic, PARTITIONS)
    else:
        creator.create(target, topic, PARTITIONS)
    assert observers(target).partitions(topic) == PARTITIONS


def wait_for_split(members):
    deadline = Deadline()
    while True:
        for member in members:
            member.refresh(REFRESH_S)
        assignments = [member.assigned for member in members]
        if sorted(p for assigned in assignments for p in assigned) == list(range(PARTITIONS)) and all(assignments):
            return
        assert not deadline.passed(), f"the group did not split the partitions: {assignments}"


def read_in_two_parts(client, target, topic, group, members, records, ending):
    """Both members read their part and go; then one new member reads the rest. The two parts."""
    for member in members:
        member.wait_reached()
    for member in members:
        member.commit()
    for member in members:
        member.stop()
    before = [record for member in members for record in member.records]
    rest = client.member(target, topic, group, records - len(before))
    ending(rest)
    return before, rest


def check_times(client, target, topic, received):
    probes = checks.probe_times(received)
    found = client.times(target, topic, PARTITIONS, probes)
    record_at = {(r["p"], r["o"]): r for r in received}
    for timestamp in probes:
        expected = checks.first_at_or_after(received, timestamp, PARTITIONS)
        assert {p: offset for p, (offset, _) in found[timestamp].items()} == expected, f"offsets for {timestamp}"
        for partition, (offset, read) in found[timestamp].items():
            assert (read is None) == (offset == -1)
            assert read is None or read == record_at[partition, offset], f"read from {partition}/{offset}: {read}"


@pytest.fixture(scope="session")
def creator(places, tool_server):
    """Creates topics for the clients that cannot."""
    return clients.make("confluent-kafka", places, tool_server)


@pytest.fixture
def whole_way(target, observers, creator, tool_server, matrix, ending):
    def go(client, codec, load):
        the_whole_way(target, client, codec, load, observers, creator, tool_server, matrix, ending)

    return go


def test_the_whole_way(whole_way, client, codec):
    whole_way(client, codec, FULL)


def test_a_short_way(whole_way, other_client):
    whole_way(other_client, SHORT_CODEC, SHORT)


def the_whole_way(target, client, codec, load, observers, creator, tool_server, matrix, ending):
    topic, observer = target.new_name(f"{client.name.replace(' ', '-')}-{codec}"), observers(target)
    group = f"group-{topic}"
    idempotent = codec in IDEMPOTENT_CODECS and "idempotent" not in client.unsupported
    sent = workload(int(time.time() * 1000) - AN_HOUR_MS, client.header_per_record, load.records)

    def step(*features):
        return matrix.step(target.name, client.name, *features)

    with step("create topic") if client.creates_topics else step():
        create_topic(client, target, observers, topic, creator)
    with step("group of two"):
        members = [client.member(target, topic, group, load.read_before_restart) for _ in range(2)]
        for member in members:
            ending(member)
        wait_for_split(members)
        checks.check_split([member.assigned for member in members], PARTITIONS)
    with step(codec, *(["idempotent"] if idempotent else [])):
        assert client.produce(target, topic, codec, idempotent, sent) == load.records
        with step("group of two", "commit"):
            before, rest = read_in_two_parts(client, target, topic, group, members, load.records, ending)
            assert [len(member.records) for member in members] == [load.read_before_restart] * 2
            checks.check_committed(observer.committed(group, topic, PARTITIONS), before, PARTITIONS)
        with step("restart"):
            rest.wait_reached()
            rest.commit()
            rest.stop()
            checks.check_continues(before, rest.records)
            received = sorted(before + rest.records, key=lambda r: (r["p"], r["o"]))
            checks.check_committed(observer.committed(group, topic, PARTITIONS), received, PARTITIONS)
        checks.check_content(sent, received, client.sets_timestamps)
        checks.check_complete(sent, received)
    with step("by time"):
        check_times(client, target, topic, received)
    with step("dump-log"):
        batches = dump_log.read(tool_server(), [target.files(topic, p, ".log") for p in range(PARTITIONS)])
        dump_log.check_batches(batches, received, codec, idempotent)


def test_kcat_creates_by_producing(target, tool_server, places, observer, matrix):
    """kcat has no admin calls: its way to create a topic is to write to it."""
    kcat = clients.make("kcat", places, tool_server)
    topic = target.new_name("auto-created")
    with matrix.step(target.name, "kcat", "create topic"):
        kcat.auto_create(target, topic)
        assert observer.partitions(topic) == 1
        kcat.auto_create(target, topic)


def test_codecs_in_one_topic(target, other_client, tool_server, matrix, ending):
    """Each codec in turn, from old versions too: all is read by one member, and lies in the files as it was asked for."""
    client = other_client
    topic = target.new_name(f"codecs-{client.name.replace(' ', '-')}")
    client.create(target, topic, 1)
    sent = workload(int(time.time() * 1000) - AN_HOUR_MS, client.header_per_record, RECORDS_PER_CODEC * len(CODECS))
    parts = {codec: slice(n * RECORDS_PER_CODEC, (n + 1) * RECORDS_PER_CODEC) for n, codec in enumerate(CODECS)}
    with matrix.step(target.name, client.name, *CODECS):
        for codec, part in parts.items():
            assert client.produce(target, topic, codec, False, sent[part]) == RECORDS_PER_CODEC
        member = client.member(target, topic, f"group-{topic}", len(sent))
        ending(member)
        member.wait_reached()
        member.stop()
        checks.check_content(sent, member.records, client.sets_timestamps)
        checks.check_complete(sent, member.records)
    with matrix.step(target.name, client.name, "dump-log"):
        batches = dump_log.read(tool_server(), [target.files(topic, 0, ".log")])
        for codec, part in parts.items():
            mine = [batch for batch in batches if part.start <= batch.base < part.stop]
            dump_log.check_batches(mine, member.records[part], codec, False)
