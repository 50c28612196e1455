"""Share groups (KIP-932) with Apache Kafka's share consumer: each record to one member, given back, refused, taken over; and after kill -9.

The helper (helpers/java/ShareMember.java) reads and acknowledges as it is told, and says each record as [partition, offset, deliveries].
"""
import json
import queue
import re
import time

import pytest
from confluent_kafka import Producer

from suite import dump_log, process
from suite.java_tools import LIVE
from suite.targets import Tifo

PARTITIONS = 2
RECORDS = 60
NEW_RECORDS_EVERY_S = 0.5
# group.share.delivery.count.limit
DELIVERIES = 5


class Member:
    def __init__(self, server, target, topic, group):
        self._tool = server.start("share-member", ["--bootstrap", target.bootstrap, "--topic", topic, "--group", group], LIVE)

    def step(self, how, count):
        self._tool.feed(f"{how} {count}")
        return self.said()

    def begin(self, how, count):
        self._tool.feed(f"{how} {count}")

    def said(self, timeout=process.DEADLINE_S):
        """What it says next. Raises queue.Empty when it says nothing in time."""
        event = self._tool.events.get(timeout=timeout)
        while "err" in event:
            self._tool.errors.append(event["err"])
            event = self._tool.events.get(timeout=timeout)
        assert "out" in event, self._tool.report(f"ended early: {event}")
        return json.loads(event["out"])

    def close(self):
        self._tool.feed("close")
        assert self.said() == "closed"

    def end(self):
        if self._tool.status is None:
            self._tool.stop()


class Group:
    """A topic with records, and a share group that begins with the first of them."""

    def __init__(self, target, server, partitions=PARTITIONS, records=RECORDS):
        self._target, self._server, self.name = target, server, target.new_name("share")
        self.topic = f"{self.name}-topic"
        self.run("topics", "--create", "--topic", self.topic, "--partitions", partitions)
        self.run("configs", "--alter", "--entity-type", "groups", "--entity-name", self.name, "--add-config",
                 "share.auto.offset.reset=earliest")
        self.put(records, partitions)

    def put(self, records, partitions=PARTITIONS):
        producer = Producer({"bootstrap.servers": self._target.bootstrap, "acks": "all", "log_level": 0})
        for number in range(records):
            producer.produce(self.topic, f"record {number}", partition=number % partitions)
        assert producer.flush(process.DEADLINE_S) == 0

    def put_until_said(self, member):
        """For a member whose share of the records another may have taken: new ones come until it has some."""
        deadline = time.monotonic() + process.DEADLINE_S
        while True:
            self.put(PARTITIONS)
            try:
                return member.said(timeout=NEW_RECORDS_EVERY_S)
            except queue.Empty:
                assert time.monotonic() < deadline, "new records come, and the member reads none"

    def run(self, tool, *args):
        return self._server.run(tool, "--bootstrap-server", self._target.bootstrap, *args)

    def member(self, ending):
        member = Member(self._server, self._target, self.topic, self.name)
        ending(member)
        return member


def places_of(records):
    return sorted((partition, offset) for partition, offset, _ in records)


def everything(partitions, records):
    return sorted((number % partitions, number // partitions) for number in range(records))


def test_each_record_goes_to_one_member(target, tool_server, ending):
    group = Group(target, tool_server())
    first, second = group.member(ending), group.member(ending)
    read = first.step("accept", 1)
    assert read, "the first member has read nothing"
    second.begin("accept", 1)
    read += group.put_until_said(second)
    while len(read) < RECORDS:
        for member in (first, second):
            member.begin("accept", 1)
            read += group.put_until_said(member)
    assert all(deliveries == 1 for _, _, deliveries in read)
    assert len(set(places_of(read))) == len(read), "a record came twice"
    assert set(everything(PARTITIONS, RECORDS)) <= set(places_of(read))


def test_released_records_come_again_until_it_is_enough(target, tool_server, ending):
    group = Group(target, tool_server(), partitions=1, records=3)
    member = group.member(ending)
    given = []
    while len(given) < 3 * DELIVERIES:
        given += member.step("release", 1)
    assert sorted(given) == [[0, offset, delivery] for offset in range(3) for delivery in range(1, DELIVERIES + 1)]
    group.put(1, partitions=1)
    assert member.step("accept", 1) == [[0, 3, 1]]


def test_records_near_the_limit_come_in_smaller_parts_and_then_alone(target, tool_server, ending):
    """In case one of them is bad: it is not to take its neighbours along."""
    group = Group(target, tool_server(), partitions=1, records=8)
    member = group.member(ending)
    parts = []
    while sum(parts) < 8 * DELIVERIES:
        parts.append(len(member.step("release", 1)))
    assert parts == [8, 8, 8, 4, 1, 1, 1, 1, 4, 1, 1, 1, 1]


def test_rejected_records_do_not_come_again(target, tool_server, ending):
    group = Group(target, tool_server(), partitions=1, records=4)
    member = group.member(ending)
    assert places_of(member.step("reject", 4)) == [(0, offset) for offset in range(4)]
    group.put(2, partitions=1)
    assert places_of(member.step("accept", 2)) == [(0, 4), (0, 5)]


def test_what_a_member_holds_comes_back_when_it_leaves(target, tool_server, ending):
    group = Group(target, tool_server(), partitions=1, records=5)
    first = group.member(ending)
    assert places_of(first.step("hold", 5)) == [(0, offset) for offset in range(5)]
    first.close()
    second = group.member(ending)
    assert places_of(second.step("accept", 5)) == [(0, offset) for offset in range(5)]


@pytest.mark.tifo_only
def test_kill_9_forgets_no_acknowledgement_and_loses_no_record(binary, places, tool_server, tmp_path, ending):
    data, log = tmp_path / "data", places.logs / "tifo-share.log"
    target = Tifo(binary, data, log)
    ending(target)
    group = Group(target, tool_server(), partitions=1, records=6)
    member = group.member(ending)
    assert places_of(member.step("accept", 6)) == [(0, offset) for offset in range(6)]
    group.put(4, partitions=1)
    assert places_of(member.step("release", 4)) == [(0, offset) for offset in range(6, 10)]
    member.end()
    target.kill_9()
    again = Tifo(binary, data, log)
    ending(again)
    group._target = again
    group.put(2, partitions=1)
    read = group.member(ending).step("accept", 6)
    assert places_of(read) == [(0, offset) for offset in range(6, 12)]
    deliveries = {offset: count for _, offset, count in read}
    assert all(deliveries[offset] >= 2 for offset in range(6, 10)), deliveries


def test_dump_log_reads_the_states(target, tool_server, ending):
    group = Group(target, tool_server(), partitions=1, records=5)
    member = group.member(ending)
    assert len(member.step("accept", 5)) == 5
    member.close()
    files = [str(file) for partition in range(len_of(target)) for file in target.files("__share_group_state", partition, ".log")]
    lines = tool_server().run("dump-log", "--share-group-state-decoder", "--files", ",".join(files))
    said = [line for line in lines if group.name in line]
    assert said and all(re.search(r'payload: \{', line) for line in said), said
    assert any('"stateBatches"' in line or '"startOffset"' in line for line in said), said
    for line in lines:
        dump_log.check_no_complaint(line)


def len_of(target):
    from pathlib import Path
    return len(list(Path(target.data_dir).glob("**/__share_group_state-*")))
