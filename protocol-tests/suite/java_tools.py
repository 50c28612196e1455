"""Apache Kafka's own command-line tools, run by helpers/java/ToolServer in one JVM; and whatever else runs in one."""
import itertools
import json
import queue
import re
import tempfile
import threading
import time

from suite import process

T = "org.apache.kafka.tools"
TOOLS = {"topics": f"{T}.TopicCommand", "consumer-groups": f"{T}.consumer.group.ConsumerGroupCommand",
         "get-offsets": f"{T}.GetOffsetShell", "dump-log": f"{T}.DumpLogSegments",
         "console-producer": f"{T}.ConsoleProducer", "console-consumer": f"{T}.consumer.ConsoleConsumer",
         "configs": "kafka.admin.ConfigCommand", "delete-records": f"{T}.DeleteRecordsCommand",
         "api-versions": f"{T}.BrokerApiVersionsCommand", "groups": f"{T}.GroupsCommand",
         "log-dirs": f"{T}.LogDirsCommand", "leader-election": f"{T}.LeaderElectionCommand",
         "reassign-partitions": f"{T}.reassign.ReassignPartitionsCommand", "cluster": f"{T}.ClusterTool",
         "features": f"{T}.FeatureCommand", "client-metrics": f"{T}.ClientMetricsCommand",
         "metadata-quorum": f"{T}.MetadataQuorumCommand", "producer-perf": f"{T}.ProducerPerformance",
         "consumer-perf": f"{T}.ConsumerPerformance", "e2e-latency": f"{T}.EndToEndLatency",
         "verifiable-producer": f"{T}.VerifiableProducer", "verifiable-consumer": f"{T}.VerifiableConsumer",
         "transactions": f"{T}.TransactionsCommand", "kafka-clients": "KafkaClients",
         "share-groups": f"{T}.consumer.group.ShareGroupCommand", "share-member": "ShareMember",
         "console-share-consumer": f"{T}.consumer.ConsoleShareConsumer"}
HEAP = "-Xmx512M"
LIVE = "live"


def of_oracle(oracle_dir, classes_dir):
    """The JVM of the tools, with their own jars."""
    return ToolServer(f"{oracle_dir}/lib/*:{classes_dir}", f"-Dlog4j2.configurationFile={oracle_dir}/tools-log4j2.properties")


def of_kafka_clients(directory):
    """A JVM with one version of kafka-clients."""
    return ToolServer(f"{directory}/lib/*:{directory}/classes", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


class ToolServer:
    def __init__(self, class_path, *options):
        self._child = process.Child([
            "java", HEAP, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *options, "-cp", class_path, "ToolServer"])
        self._ids, self._running, self._lock = itertools.count(1), {}, threading.Lock()
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self):
        while True:
            try:
                line = self._child.line(3600)
            except queue.Empty:
                continue
            if line is None:
                break
            event = json.loads(line)
            self._running[event["id"]].events.put(event)
        for tool in list(self._running.values()):
            tool.events.put({"exit": "the JVM ended"})

    def start(self, tool, args, stdin=None):
        """`stdin` is the path of a file, LIVE for what `feed` sends, or nothing."""
        running = Tool(self, next(self._ids), f"{tool} {' '.join(map(str, args))}")
        self._running[running.id] = running
        self._send({"id": running.id, "class": TOOLS[tool], "args": [str(a) for a in args], "stdin": stdin})
        return running

    def feed(self, tool_id, line):
        self._send({"id": tool_id, "in": line})

    def stop(self, tool_id):
        self._send({"id": tool_id, "stop": True})

    def _send(self, request):
        with self._lock:
            self._child.send(json.dumps(request, ensure_ascii=False) + "\n")

    def run(self, tool, *args, stdin=None):
        """Runs a tool to its end; its standard output, line by line."""
        with tempfile.NamedTemporaryFile("w", suffix=".stdin", encoding="utf-8") as file:
            file.write(stdin or "")
            file.flush()
            return self.start(tool, args, file.name).finish()

    def outcome(self, tool, *args, stdin=""):
        """Runs a tool to its end; its standard output, line by line, and its exit status."""
        with tempfile.NamedTemporaryFile("w", suffix=".stdin", encoding="utf-8") as file:
            file.write(stdin)
            file.flush()
            return self.start(tool, args, file.name).outcome()

    def end(self):
        self._child.end()


class Tool:
    """One run of a tool."""

    def __init__(self, server, number, what):
        self._server, self.id, self._what = server, number, what
        self.events, self.errors, self.status = queue.Queue(), [], None

    def lines(self, timeout=process.DEADLINE_S):
        """Its output until it ends, which must be a success."""
        yield from self._output(timeout)
        if self.status != 0:
            raise process.ProcessFailed(self.report(f"exit {self.status}"))

    def outcome(self):
        """Its output and its exit status, whatever they are."""
        return list(self._output(process.DEADLINE_S)), self.status

    def _output(self, timeout):
        deadline = process.Deadline(timeout)
        while self.status is None:
            try:
                event = self.events.get(timeout=deadline.left())
            except queue.Empty:
                raise process.ProcessFailed(self.report("did not end in time")) from None
            if "out" in event:
                yield event["out"]
            elif "err" in event:
                self.errors.append(event["err"])
            else:
                self.status = event["exit"]

    def finish(self):
        return list(self.lines())

    def feed(self, line):
        self._server.feed(self.id, line)

    def stop(self):
        self._server.stop(self.id)

    def report(self, what):
        return f"{self._what}: {what}\n" + "\n".join(self.errors[-40:])


class JavaToolsClient:
    """topics, console-producer, console-consumer, consumer-groups and get-offsets as one client."""

    name = "java tools"
    header_per_record = True
    sets_timestamps = False
    creates_topics = True
    unsupported = {}
    remark = None

    def __init__(self, server):
        self.tools = server

    def version(self):
        return self.tools.run("topics", "--version")[0]

    def create(self, target, topic, partitions):
        said = self.tools.run("topics", "--bootstrap-server", target.bootstrap, "--create", "--topic", topic,
                              "--partitions", partitions, "--replication-factor", 1)
        assert f"Created topic {topic}." in said, said

    def produce(self, target, topic, codec, idempotent, records):
        lines = "".join(f"{','.join(f'{n}:{v}' for n, v in r.headers)}\t{r.key}\t{r.value}\n" for r in records)
        self.tools.run("console-producer", "--bootstrap-server", target.bootstrap, "--topic", topic,
                       "--compression-codec", codec, "--reader-property", "parse.key=true",
                       "--reader-property", "parse.headers=true",
                       "--command-property", f"enable.idempotence={str(idempotent).lower()}",
                       "--command-property", "acks=all", "--command-property", "max.in.flight.requests.per.connection=1",
                       stdin=lines)
        return len(records)

    def member(self, target, topic, group, count):
        return ConsoleMember(self.tools, target, topic, group, count)

    def times(self, target, topic, partitions, timestamps):
        found = {}
        for timestamp in timestamps:
            said = self.tools.run("get-offsets", "--bootstrap-server", target.bootstrap, "--topic", topic, "--time", timestamp)
            # It prints no line for a partition without a record that late.
            offsets = {int(p): int(o) for _, p, o in (line.rsplit(":", 2) for line in said)}
            found[timestamp] = {p: (offsets[p], self._read_at(target, topic, p, offsets[p])) if p in offsets else (-1, None)
                                for p in range(partitions)}
        return found

    def _read_at(self, target, topic, partition, offset):
        lines = self.tools.run("console-consumer", "--bootstrap-server", target.bootstrap, "--topic", topic,
                               "--partition", partition, "--offset", offset, "--max-messages", 1, *PRINT_ALL)
        return parse(lines[0])


PRINT_ALL = [arg for name in ("timestamp", "partition", "offset", "headers", "key")
             for arg in ("--formatter-property", f"print.{name}=true")]


def parse(line):
    """CreateTime:1⇥Partition:0⇥Offset:5⇥name:value,name:value⇥key⇥value"""
    timestamp, partition, offset, headers, key, value = line.split("\t", 5)
    pairs = [pair.split(":", 1) for pair in headers.split(",")]
    number = [int(field.rsplit(":", 1)[1]) for field in (partition, offset, timestamp)]
    return {"p": number[0], "o": number[1], "t": number[2], "k": key, "v": value, "h": pairs}


class ConsoleMember:
    """A console-consumer in a group. It leaves, and commits, after `count` records; consumer-groups tells what it owns."""

    def __init__(self, tools, target, topic, group, count):
        self._tools, self._target, self._topic, self._group = tools, target, topic, group
        self.assigned, self.records = [], []
        self._client_id = f"{group}-{time.monotonic_ns()}"
        self._tool = tools.start("console-consumer", [
            "--bootstrap-server", target.bootstrap, "--topic", topic, "--group", group, "--max-messages", count,
            "--from-beginning", "--command-property", "heartbeat.interval.ms=200",
            "--command-property", "session.timeout.ms=10000", "--command-property", f"client.id={self._client_id}",
            *PRINT_ALL])

    def refresh(self, wait_s):
        time.sleep(wait_s)
        said = self._tools.run("consumer-groups", "--bootstrap-server", self._target.bootstrap, "--describe",
                               "--group", self._group, "--members", "--verbose")
        mine = [line for line in said if self._client_id in line]
        # The column reads `topic(0,1)` (4.x puts a colon and braces in some releases); the partitions stand after the topic.
        named = re.search(re.escape(self._topic) + r"[({:]+([\d,]+)", mine[0]) if mine else None
        self.assigned = [int(p) for p in named.group(1).split(",")] if named else []

    def wait_reached(self):
        self.records.extend(parse(line) for line in self._tool.lines() if "\t" in line)

    def commit(self):
        """It has committed by leaving."""

    def stop(self):
        """It has left by itself."""

    def end(self):
        self._tool.stop()
