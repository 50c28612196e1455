"""kill -9 and a restart on the same data: every client finds its records, and its group where it stopped."""
import time

import pytest

from suite import batches, checks, clients, dump_log, wire
from suite.observer import Observer
from suite.targets import Tifo
from suite.workload import workload

pytestmark = pytest.mark.tifo_only

PARTITIONS = 2
RECORDS = 2_000
READ_BEFORE = 700
CODEC = "gzip"
MORE_RECORDS = 100


class Before:
    """What one client left behind when the broker was killed."""

    def __init__(self, client, target, creator):
        self.topic = target.new_name(f"killed-{client.name.replace(' ', '-')}")
        self.group = f"group-{self.topic}"
        self.idempotent = "idempotent" not in client.unsupported
        (client if client.creates_topics else creator).create(target, self.topic, PARTITIONS)
        self.sent = workload(int(time.time() * 1000), client.header_per_record, RECORDS)
        assert client.produce(target, self.topic, CODEC, self.idempotent, self.sent) == RECORDS
        self.read = read(client, target, self, READ_BEFORE)


def read(client, target, before, count):
    member = client.member(target, before.topic, before.group, count)
    try:
        member.wait_reached()
        member.commit()
        member.stop()
    finally:
        member.end()
    return member.records


class Survivor:
    """A Tifo that every client has used, then killed, then started again on its data."""

    def __init__(self, binary, data_dir, log, chosen, creator):
        self.target = Tifo(binary, data_dir, log)
        self.before, self.failed = {}, {}
        for client in chosen:
            try:
                self.before[client.name] = Before(client, self.target, creator)
            except Exception as error:
                self.failed[client.name] = error
        with wire.connect(self.target) as connection:
            self.producer = connection.init_producer_id()
            creator.create(self.target, "sequences", 1)
            assert connection.produce("sequences", 0, self.batch(0)) == (wire.NONE, 0)
            assert connection.produce("sequences", 0, self.batch(1)) == (wire.NONE, 1)
        self.target.kill_9()
        started = time.monotonic()
        self.target = Tifo(binary, data_dir, log)
        self.restart_s = time.monotonic() - started

    def batch(self, sequence):
        return batches.of_values([b"numbered"], int(time.time() * 1000), (*self.producer, sequence)).encode()


@pytest.fixture(scope="module")
def survivor(request, binary, places, tool_server, tmp_path_factory):
    """Only the clients of the tests that were chosen take part."""
    names = {item.callspec.params["name"] for item in request.session.items
             if "survivor" in item.fixturenames and hasattr(item, "callspec")}
    chosen = [clients.make(name, places, tool_server) for name in clients.NAMES if name in names]
    creator = clients.make("confluent-kafka", places, tool_server)
    running = Survivor(binary, tmp_path_factory.mktemp("survivor"), places.logs / "tifo-killed.log", chosen, creator)
    yield running
    running.target.end()


@pytest.mark.parametrize("name", clients.NAMES)
def test_records_and_committed_offsets_survive(survivor, name, places, tool_server, matrix):
    client = clients.make(name, places, tool_server)
    with matrix.step("tifo", client.name, "kill -9"):
        if client.name in survivor.failed:
            raise survivor.failed[client.name]
        before, target = survivor.before[client.name], survivor.target
        committed = Observer(target.bootstrap).committed(before.group, before.topic, PARTITIONS)
        checks.check_committed(committed, before.read, PARTITIONS)
        rest = read(client, target, before, RECORDS - READ_BEFORE)
        checks.check_continues(before.read, rest)
        received = sorted(before.read + rest, key=lambda r: (r["p"], r["o"]))
        checks.check_content(before.sent, received, client.sets_timestamps)
        checks.check_complete(before.sent, received)
        more = workload(int(time.time() * 1000), client.header_per_record, MORE_RECORDS, first=RECORDS)
        assert client.produce(target, before.topic, CODEC, before.idempotent, more) == MORE_RECORDS
        after = read(client, target, before, MORE_RECORDS)
        checks.check_complete(before.sent + more, received + sorted(after, key=lambda r: (r["p"], r["o"])))


def test_sequences_survive(survivor):
    """A producer that asks again after the restart is answered as before it."""
    with wire.connect(survivor.target) as connection:
        assert connection.produce("sequences", 0, survivor.batch(1)) == (wire.NONE, 1)
        assert connection.produce("sequences", 0, survivor.batch(3))[0] == wire.OUT_OF_ORDER_SEQUENCE
        assert connection.produce("sequences", 0, survivor.batch(2)) == (wire.NONE, 2)
        assert connection.init_producer_id()[0] != survivor.producer[0]


def test_dump_log_reads_the_files_after_a_clean_stop(survivor, tool_server):
    """The last test of this file: it stops the broker, which then has written every index."""
    target = survivor.target
    target.stop()
    for topic in ["sequences", *(before.topic for before in survivor.before.values())]:
        logs = target.files(topic, 0, ".log")
        batches = dump_log.read(tool_server(), [logs])
        offsets = [record["o"] for batch in batches for record in batch.records]
        assert offsets == list(range(len(offsets)))
        for suffix in (".index", ".timeindex"):
            files = target.files(topic, 0, suffix)
            assert [file.stem for file in files] == [file.stem for file in logs]
            for line in tool_server().run("dump-log", "--verify-index-only", "--files", ",".join(map(str, files))):
                dump_log.check_no_complaint(line)
