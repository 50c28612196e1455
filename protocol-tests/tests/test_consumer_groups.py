"""Groups of KIP-848 with stock clients: members share, hand over and leave; both protocols in one group; kill -9; the records."""
import json
import time

import pytest

from suite import clients
from suite.targets import Tifo
from suite.workload import workload

PARTITIONS = 4
RECORDS = 400
ALL = list(range(PARTITIONS))
# More than there are: a member that reads on.
ENDLESS = 1_000_000
NEXT_GENERATION = ["kafka-clients 4.3", "confluent-kafka", "franz-go"]
# Kinds of records by number: what a consumer group is made of.
KINDS = {"3", "5", "6", "7", "8"}
# Two changes of a group are a heartbeat of Kafka's apart. Ours is promised within 150 ms; the rest is for a busy machine.
STABLE_MS = {"tifo": 1_000, "kafka": 30_000}


class Group:
    """A topic with records, and members of a group that reads it."""

    def __init__(self, target, client, ending, stem):
        self._target, self._client, self._ending = target, client, ending
        self.topic = target.new_name(stem)
        self.name = f"group-{self.topic}"
        client.create(target, self.topic, PARTITIONS)
        sent = workload(int(time.time() * 1000), client.header_per_record, RECORDS)
        assert client.produce(target, self.topic, "none", "idempotent" not in client.unsupported, sent) == RECORDS

    def member(self, client=None, protocol="consumer", count=ENDLESS):
        member = (client or self._client).member(self._target, self.topic, self.name, count, protocol)
        self._ending(member)
        return member


def wait_shared(members):
    """Until they have all partitions, and none in common; how long it took, in ms."""
    started = time.monotonic()
    while sorted(p for member in members for p in member.assigned) != ALL or not all(m.assigned for m in members):
        assert time.monotonic() - started < 60, [member.assigned for member in members]
        for member in members:
            member.refresh(0.01)
    return (time.monotonic() - started) * 1000


def read_offsets(members):
    return sorted((record["p"], record["o"]) for member in members for record in member.records)


def wait_read(member, count):
    started = time.monotonic()
    while len(set(read_offsets([member]))) < count:
        assert time.monotonic() - started < 30, len(member.records)
        member.refresh(0.01)


@pytest.mark.parametrize("name", NEXT_GENERATION)
def test_two_members_share_and_hand_over(name, target, places, tool_server, ending):
    client = clients.make(name, places, tool_server)
    group = Group(target, client, ending, f"kip848-{name.replace(' ', '-')}")
    first = group.member()
    first.wait_assigned(lambda assigned: assigned == ALL)
    wait_read(first, RECORDS)
    first.commit()
    second = group.member()
    joined_ms = wait_shared([first, second])
    tools = tool_server()
    listed = tools.run("consumer-groups", "--bootstrap-server", target.bootstrap, "--list", "--type", "consumer", "--state", "stable")
    assert any(line.split()[:1] == [group.name] for line in listed), listed
    described = tools.run("consumer-groups", "--bootstrap-server", target.bootstrap, "--describe", "--group", group.name, "--members", "--verbose")
    assert sum(group.name in line for line in described) == 2, described
    second.stop()
    left = time.monotonic()
    first.wait_assigned(lambda assigned: assigned == ALL)
    left_ms = (time.monotonic() - left) * 1000
    print(f"\n{name} on {target.name}: shared {joined_ms:.0f} ms after the second join, back {left_ms:.0f} ms after its leave")
    assert max(joined_ms, left_ms) < STABLE_MS[target.name]
    first.stop()
    assert len(read_offsets([first, second])) == RECORDS, "what was committed is read once"


def test_a_rolling_upgrade_and_back(target, places, tool_server, ending):
    """A classic member and one of the new protocol share; whichever leaves, the other goes on."""
    new, old = (clients.make(name, places, tool_server) for name in ("kafka-clients 4.3", "kafka-clients 3.9"))
    group = Group(target, new, ending, "migration")
    classic = group.member(old, "classic")
    classic.wait_assigned(lambda assigned: assigned == ALL)
    wait_read(classic, RECORDS)
    classic.commit()
    modern = group.member()
    wait_shared([classic, modern])
    modern.stop()
    classic.wait_assigned(lambda assigned: assigned == ALL)
    again = group.member()
    wait_shared([classic, again])
    classic.stop()
    again.wait_assigned(lambda assigned: assigned == ALL)
    again.stop()
    assert len(read_offsets([classic, modern, again])) == RECORDS, "what was committed is read once"


def test_a_pattern_finds_topics_that_come_later(target, places, tool_server, ending):
    """librdkafka sends a topic that begins with ^ as SubscribedTopicRegex; the broker looks for it."""
    client = clients.make("confluent-kafka", places, tool_server)
    stem = target.new_name("pattern")
    client.create(target, f"{stem}-first", PARTITIONS)
    member = client.member(target, f"^{stem}-.*", f"group-{stem}", ENDLESS, "consumer")
    ending(member)
    member.wait_assigned(lambda assigned: assigned == ALL)
    client.create(target, f"{stem}-second", PARTITIONS)
    client.create(target, f"{stem}second", PARTITIONS)
    member.wait_assigned(lambda assigned: sorted(assigned) == sorted(ALL * 2))
    member.stop()


def test_dump_log_reads_the_records(target, places, tool_server, ending):
    client = clients.make("confluent-kafka", places, tool_server)
    group = Group(target, client, ending, "dumped")
    member = group.member()
    member.wait_assigned(lambda assigned: assigned == ALL)
    member.stop()
    seen = {}
    for file in sorted(target.partition_dir_of_group(group.name).glob("*.log")):
        for line in tool_server().run("dump-log", "--offsets-decoder", "--files", str(file)):
            if "key: {" in line and f'"groupId":"{group.name}"' in line:
                key, payload = line[line.index("key: ") + 5:].split(" payload: ")
                seen.setdefault(json.loads(key)["type"], []).append(None if payload == "<DELETE>" else json.loads(payload)["data"])
    assert KINDS <= set(seen), seen.keys()
    assert seen["5"][0]["subscribedTopicNames"] == [group.topic] and seen["5"][0]["classicMemberMetadata"] is None
    assert [set(value) for value in seen["8"][:1]] == [{"memberEpoch", "previousMemberEpoch", "state", "assignedPartitions", "partitionsPendingRevocation"}]
    held = seen["8"][-2 if seen["8"][-1] is None else -1]["assignedPartitions"]
    assert [topic["partitions"] for topic in held] == [ALL] and len(held[0]["assignmentEpochs"]) == PARTITIONS
    assert seen["3"][0]["metadataHash"] != 0 and seen["6"][0]["assignmentEpoch"] == seen["3"][0]["epoch"]
    assert seen["5"][-1] is None, "the member has left"


@pytest.mark.tifo_only
def test_kill_9_keeps_members_and_offsets(binary, places, tool_server, tmp_path, ending):
    target = Tifo(binary, tmp_path, places.logs / "tifo-kip848.log")
    ending(target)
    group = Group(target, clients.make("confluent-kafka", places, tool_server), ending, "killed-kip848")
    member = group.member()
    wait_read(member, RECORDS)
    member.commit()
    before = describe(tool_server, target, group)
    target.kill_9()
    member.end()
    target = Tifo(binary, tmp_path, places.logs / "tifo-kip848.log")
    ending(target)
    assert describe(tool_server, target, group) == before and before


def describe(tool_server, target, group):
    """Members with their epochs and partitions, and where the group stands."""
    def run(*what):
        lines = tool_server().run("consumer-groups", "--bootstrap-server", target.bootstrap, "--describe", "--group", group.name, *what)
        return sorted(tuple(line.split()) for line in lines if line.startswith(group.name))

    return run("--members", "--verbose"), [row[2:5] for row in run()]
