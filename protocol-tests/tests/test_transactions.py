"""Transactions of stock clients: what readers of committed records see, offsets within them, fencing, and kill -9 in the middle."""
import asyncio
import json
import random
import re
import threading
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as AioPartition
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from suite.process import Deadline
from suite.targets import Tifo

WAIT_S = 30
TRANSACTIONS = 40
KILLS = 4


def create(target, topic, partitions):
    admin = AdminClient({"bootstrap.servers": target.bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(WAIT_S)


def producer(target, transactional_id, **settings):
    return Producer({"bootstrap.servers": target.bootstrap, "transactional.id": transactional_id, "linger.ms": 0, **settings})


def read_all(target, topic, partitions, isolation):
    """Every value up to the end that readers of this isolation level see."""
    consumer = Consumer({"bootstrap.servers": target.bootstrap, "group.id": "unused", "isolation.level": isolation,
                         "auto.offset.reset": "earliest", "enable.partition.eof": True, "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        values, at_end, deadline = [], set(), Deadline(WAIT_S)
        while len(at_end) < partitions:
            assert not deadline.passed(), f"the end of {topic} did not come: {len(values)} values"
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error():
                at_end.add(message.partition())
            else:
                values.append(message.value().decode())
        return values
    finally:
        consumer.close()


def committed(target, group, topic):
    consumer = Consumer({"bootstrap.servers": target.bootstrap, "group.id": group})
    try:
        return consumer.committed([TopicPartition(topic, 0)], WAIT_S)[0].offset
    finally:
        consumer.close()


@pytest.fixture
def topic(target):
    name = target.new_name("transactions")
    create(target, name, 2)
    return name


def test_only_what_was_committed_is_read(target, topic):
    writer = producer(target, f"id-{topic}")
    writer.init_transactions(WAIT_S)
    for number, ends_well in enumerate([True, False, True, False]):
        writer.begin_transaction()
        for partition in (0, 1):
            writer.produce(topic, f"{number}-{partition}", partition=partition)
        writer.commit_transaction(WAIT_S) if ends_well else (writer.flush(WAIT_S), writer.abort_transaction(WAIT_S))
    assert sorted(read_all(target, topic, 2, "read_committed")) == ["0-0", "0-1", "2-0", "2-1"]
    assert len(read_all(target, topic, 2, "read_uncommitted")) == 8


def test_an_open_transaction_is_not_read_and_holds_back_what_is_behind_it(target, topic):
    writer = producer(target, f"id-{topic}")
    writer.init_transactions(WAIT_S)
    writer.begin_transaction()
    writer.produce(topic, "open", partition=0)
    writer.flush(WAIT_S)
    plain = Producer({"bootstrap.servers": target.bootstrap})
    plain.produce(topic, "behind", partition=0)
    plain.flush(WAIT_S)
    assert read_all(target, topic, 2, "read_committed") == []
    assert read_all(target, topic, 2, "read_uncommitted") == ["open", "behind"]
    writer.commit_transaction(WAIT_S)
    assert read_all(target, topic, 2, "read_committed") == ["open", "behind"]


def test_offsets_count_with_their_transaction(target, topic):
    group = f"group-{topic}"
    writer = producer(target, f"id-{topic}")
    writer.init_transactions(WAIT_S)
    reader = Consumer({"bootstrap.servers": target.bootstrap, "group.id": group, "enable.auto.commit": False})
    for offset, ends_well, expected in [(5, True, 5), (9, False, 5), (11, True, 11)]:
        writer.begin_transaction()
        writer.produce(topic, str(offset), partition=0)
        writer.send_offsets_to_transaction([TopicPartition(topic, 0, offset)], reader.consumer_group_metadata(), WAIT_S)
        writer.commit_transaction(WAIT_S) if ends_well else (writer.flush(WAIT_S), writer.abort_transaction(WAIT_S))
        assert committed(target, group, topic) == expected
    reader.close()


def test_a_second_producer_fences_the_first(target, topic):
    first, second = producer(target, f"id-{topic}"), producer(target, f"id-{topic}")
    first.init_transactions(WAIT_S)
    first.begin_transaction()
    first.produce(topic, "zombie", partition=0)
    first.flush(WAIT_S)
    second.init_transactions(WAIT_S)
    with pytest.raises(KafkaException) as fenced:
        first.commit_transaction(WAIT_S)
    assert fenced.value.args[0].fatal()
    second.begin_transaction()
    second.produce(topic, "successor", partition=0)
    second.commit_transaction(WAIT_S)
    assert read_all(target, topic, 2, "read_committed") == ["successor"]


def test_a_transaction_that_takes_too_long_is_aborted(target, topic):
    writer = producer(target, f"id-{topic}", **{"transaction.timeout.ms": 1000, "message.timeout.ms": 1000})
    writer.init_transactions(WAIT_S)
    writer.begin_transaction()
    writer.produce(topic, "slow", partition=0)
    writer.flush(WAIT_S)
    plain = Producer({"bootstrap.servers": target.bootstrap})
    plain.produce(topic, "behind", partition=0)
    plain.flush(WAIT_S)
    deadline = Deadline(WAIT_S)
    while read_all(target, topic, 2, "read_committed") != ["behind"]:
        assert not deadline.passed(), "the transaction was not aborted"


def test_aiokafka_commits_aborts_and_carries_offsets(target, topic):
    """A client of the first protocol, written in Python alone."""
    group = f"group-{topic}"
    asyncio.run(aiokafka_transactions(target.bootstrap, topic, group, [("0", 3, True), ("1", 7, False), ("2", 9, True)]))
    assert read_all(target, topic, 2, "read_committed") == ["0", "2"]
    assert read_all(target, topic, 2, "read_uncommitted") == ["0", "1", "2"]
    assert committed(target, group, topic) == 9


async def aiokafka_transactions(bootstrap, topic, group, transactions):
    writer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"aiokafka-{topic}", transaction_timeout_ms=WAIT_S * 1000)
    await writer.start()
    try:
        for value, offset, ends_well in transactions:
            await writer.begin_transaction()
            await writer.send_and_wait(topic, value.encode(), partition=0)
            await writer.send_offsets_to_transaction({AioPartition(topic, 0): offset}, group)
            await (writer.commit_transaction() if ends_well else writer.abort_transaction())
    finally:
        await writer.stop()


def test_java_producer_of_the_second_protocol(target, topic, tool_server):
    """Apache Kafka's own producer adds no partitions itself and gets a new epoch with every end."""
    tools = tool_server()
    tools.run("producer-perf", "--bootstrap-server", target.bootstrap, "--topic", topic, "--num-records", 300, "--record-size", 10,
              "--throughput", 300, "--transaction-duration-ms", 50, "--transactional-id", f"id-{topic}")
    assert len(read_all(target, topic, 2, "read_committed")) == 300
    described = tools.run("transactions", "--bootstrap-server", target.bootstrap, "describe", "--transactional-id", f"id-{topic}")
    row = dict(zip(described[0].split(), described[1].split()))
    assert row["TransactionState"] == "CompleteCommit" and int(row["ProducerEpoch"]) > 1, described


def test_tools_list_find_and_abort(target, topic, tool_server):
    tools = tool_server()
    writer = producer(target, f"id-{topic}")
    writer.init_transactions(WAIT_S)
    writer.begin_transaction()
    writer.produce(topic, "open", partition=0)
    writer.flush(WAIT_S)

    def run(*args):
        return tools.run("transactions", "--bootstrap-server", target.bootstrap, *args)

    assert any(line.split()[:1] == [f"id-{topic}"] and "Ongoing" in line for line in run("list"))
    producers = run("describe-producers", "--topic", topic, "--partition", 0)
    row = dict(zip(producers[0].split(), producers[1].split()))
    assert row["CurrentTransactionStartOffset"] == "0", producers
    assert len(run("find-hanging", "--topic", topic)) == 1, "a transaction that the coordinator knows is not hanging"
    run("abort", "--topic", topic, "--partition", 0, "--start-offset", 0)
    assert read_all(target, topic, 2, "read_committed") == []
    producers = run("describe-producers", "--topic", topic, "--partition", 0)
    assert dict(zip(producers[0].split(), producers[1].split()))["CurrentTransactionStartOffset"] == "None", producers


@pytest.mark.tifo_only
def test_dump_log_reads_what_the_coordinator_writes(tifo, tool_server):
    target, topic = tifo, tifo.new_name("transactions-dumped")
    create(target, topic, 1)
    writer = producer(target, f"id-{topic}")
    writer.init_transactions(WAIT_S)
    writer.begin_transaction()
    writer.produce(topic, "v", partition=0)
    writer.commit_transaction(WAIT_S)
    tools, states = tool_server(), []
    logs = [path for path in sorted(tifo_state_logs(target)) if path.stat().st_size > 0]
    for line in tools.run("dump-log", "--transaction-log-decoder", "--files", ",".join(map(str, logs))):
        found = re.search(r"key: (\{.*\}) payload: (\{.*\})", line)
        if found and json.loads(found.group(1))["data"]["transactionalId"] == f"id-{topic}":
            states.append(json.loads(found.group(2))["data"])
    assert [state["transactionStatus"] for state in states] == [0, 1, 2, 4]
    assert states[1]["transactionPartitions"] == [{"topic": topic, "partitionIds": [0]}]
    dumped = tools.run("dump-log", "--print-data-log", "--files", target.files(topic, 0, ".log")[0])
    assert any("endTxnMarker: COMMIT coordinatorEpoch: 0" in line for line in dumped), dumped


def tifo_state_logs(target):
    return Path(target.data_dir).glob("**/__transaction_state-*/*.log")


@pytest.mark.tifo_only
def test_kill_9_leaves_no_transaction_half_visible(binary, tmp_path, places):
    """Whatever is killed when: each transaction is there on both partitions and in the group's offset, or nowhere."""
    place = tmp_path / "data"
    broker = Tifo(binary, place, places.logs / "tifo-transactions.log")
    create(broker, "paid", 2)
    done = 0
    try:
        for round_number in range(KILLS):
            done = write_until_killed(broker, done, kill_after=TRANSACTIONS if round_number % 2 else TRANSACTIONS // 2)
            broker = Tifo(binary, place, places.logs / "tifo-transactions.log")
            writer = producer(broker, "copier")
            writer.init_transactions(WAIT_S)
            values = read_all(broker, "paid", 2, "read_committed")
            by_transaction = {}
            for value in values:
                number, partition = value.split("-")
                by_transaction.setdefault(int(number), []).append(partition)
            assert all(sorted(parts) == ["0", "1"] for parts in by_transaction.values()), by_transaction
            position = committed(broker, "copied", "paid")
            assert position == max(by_transaction, default=-1) + 1 or (position < 0 and not by_transaction)
            # What was acknowledged is there; one more may be, whose answer the kill took.
            assert done <= position <= done + 1, (done, position)
            done = position
    finally:
        broker.end()


def write_until_killed(broker, begin, kill_after):
    """Transactions numbered from `begin` on; the broker is killed while one is being committed. How many were acknowledged."""
    writer = producer(broker, "copier", **{"socket.timeout.ms": 2000})
    writer.init_transactions(WAIT_S)
    reader = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "copied", "enable.auto.commit": False})
    metadata = reader.consumer_group_metadata()
    done = begin
    for number in range(begin, begin + kill_after + 1):
        writer.begin_transaction()
        for partition in (0, 1):
            writer.produce("paid", f"{number}-{partition}", partition=partition)
        writer.send_offsets_to_transaction([TopicPartition("paid", 0, number + 1)], metadata, WAIT_S)
        if number == begin + kill_after:
            writer.flush(WAIT_S)
            kill_during(broker, writer)
            break
        writer.commit_transaction(WAIT_S)
        done = number + 1
    return done


def kill_during(broker, writer):
    """Kills while the commit is under way, some ms after it began."""
    pause = threading.Timer(random.uniform(0, 0.01), broker.kill_9)
    pause.start()
    try:
        writer.commit_transaction(2)
    except KafkaException:
        pass
    pause.join()
