"""Apache Kafka's admin tools beyond what every client does: what they print of topics, groups, offsets and settings."""
import re
import time

import pytest

from suite import clients
from suite.workload import workload

RECORDS = 1_000
PARTITIONS = 3


class Tools:
    def __init__(self, server, target):
        self._server, self._target = server, target

    def __call__(self, tool, *args):
        return self._server.run(tool, "--bootstrap-server", self._target.bootstrap, *args)


@pytest.fixture
def tools(tool_server, target):
    return Tools(tool_server(), target)


@pytest.fixture
def topic(tools, target):
    name = target.new_name("tools")
    tools("topics", "--create", "--topic", name, "--partitions", PARTITIONS)
    return name


@pytest.fixture
def filled(target, topic, places, tool_server):
    client = clients.make("confluent-kafka", places, tool_server)
    assert client.produce(target, topic, "lz4", True, workload(int(time.time() * 1000), records=RECORDS)) == RECORDS
    return topic


def columns(lines, key):
    """A table of a tool as dictionaries: the header names the columns."""
    header = next(i for i, line in enumerate(lines) if line.split()[:1] == [key])
    names = lines[header].split()
    return [dict(zip(names, line.split())) for line in lines[header + 1:] if line.strip()]


def test_topics_describe_and_list(tools, topic):
    described = tools("topics", "--describe", "--topic", topic)
    first_line = rf"Topic: {topic}\s+TopicId: [\w-]{{22}}\s+PartitionCount: {PARTITIONS}\s+ReplicationFactor: 1"
    assert re.search(first_line, described[0]), described[0]
    node = re.search(r"Leader: (\d+)", described[1]).group(1)
    for partition, line in enumerate(described[1:]):
        assert re.search(rf"Partition: {partition}\s+Leader: {node}\s+Replicas: {node}\s+Isr: {node}", line), line
    assert topic in tools("topics", "--list")


def test_topics_alter_adds_partitions(tools, topic):
    tools("topics", "--alter", "--topic", topic, "--partitions", PARTITIONS + 2)
    assert f"PartitionCount: {PARTITIONS + 2}" in tools("topics", "--describe", "--topic", topic)[0]


def test_topics_delete_and_create_again(tools, filled):
    old = tools("topics", "--describe", "--topic", filled)[0]
    tools("topics", "--delete", "--topic", filled)
    assert filled not in tools("topics", "--list")
    tools("topics", "--create", "--topic", filled, "--partitions", 1)
    new = tools("topics", "--describe", "--topic", filled)[0]
    assert re.search(r"TopicId: (\S+)", old).group(1) != re.search(r"TopicId: (\S+)", new).group(1)
    assert tools("get-offsets", "--topic", filled) == [f"{filled}:0:0"]


def test_a_topic_that_exists_is_not_created_again(tools, topic):
    with pytest.raises(AssertionError, match="already exists"):
        tools("topics", "--create", "--topic", topic)


def test_get_offsets(tools, filled):
    def total(*args):
        return sum(int(line.rsplit(":", 1)[1]) for line in tools("get-offsets", "--topic", filled, *args))

    assert total("--time", "earliest") == 0
    assert total("--time", "latest") == RECORDS
    newest = tools("get-offsets", "--topic", filled, "--time", "max-timestamp")
    assert len(newest) == PARTITIONS and all(int(line.rsplit(":", 1)[1]) >= 0 for line in newest)


def test_settings_of_a_topic(tools, target):
    name = target.new_name("settings")
    tools("topics", "--create", "--topic", name, "--config", "retention.ms=12345000", "--config", "cleanup.policy=compact")
    described = "\n".join(tools("configs", "--describe", "--entity-type", "topics", "--entity-name", name, "--all"))
    assert "retention.ms=12345000 sensitive=false" in described
    assert "cleanup.policy=compact sensitive=false" in described
    assert re.search(r"segment\.bytes=1073741824 sensitive=false", described)
    assert "max.message.bytes=1048588 sensitive=false" in described


def test_consumer_groups(tools, target, filled, places, tool_server):
    client, group = clients.make("java tools", places, tool_server), f"group-{filled}"
    member = client.member(target, filled, group, RECORDS // 2)
    member.wait_reached()
    assert group in tools("consumer-groups", "--list")
    rows = columns(tools("consumer-groups", "--describe", "--group", group), "GROUP")
    assert len(rows) == PARTITIONS and {row["TOPIC"] for row in rows} == {filled}
    read = sum(int(row["CURRENT-OFFSET"]) for row in rows if row["CURRENT-OFFSET"] != "-")
    assert read == RECORDS // 2
    state = columns(tools("consumer-groups", "--describe", "--group", group, "--state"), "GROUP")
    assert "Empty" in state[0].values(), state
    tools("consumer-groups", "--delete", "--group", group)
    assert group not in tools("consumer-groups", "--list")


def test_reset_offsets(tools, target, filled, places, tool_server):
    client, group = clients.make("java tools", places, tool_server), f"group-{filled}"
    first = client.member(target, filled, group, RECORDS)
    first.wait_reached()
    tools("consumer-groups", "--reset-offsets", "--to-earliest", "--group", group, "--topic", filled, "--execute")
    again = client.member(target, filled, group, RECORDS)
    again.wait_reached()
    assert sorted((r["p"], r["o"]) for r in again.records) == sorted((r["p"], r["o"]) for r in first.records)


def test_api_versions(tools):
    """The tool names every API that the broker offers; one it could not read would fail it."""
    said = "\n".join(tools("api-versions"))
    for api in ("Produce(0)", "Fetch(1)", "ListOffsets(2)", "Metadata(3)", "OffsetCommit(8)", "OffsetFetch(9)",
                "FindCoordinator(10)", "JoinGroup(11)", "ApiVersions(18)", "CreateTopics(19)", "InitProducerId(22)"):
        assert api in said, said
