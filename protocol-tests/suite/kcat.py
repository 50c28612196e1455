"""kcat (librdkafka, C): a stock tool, so this file speaks its command line instead of the helper contract."""
import re
import signal

from suite import process
from suite.workload import HEADER_BLOCKS

FORMAT = "%p\t%o\t%T\t%k\t%h\t%s\n"
GROUP_OPTIONS = ["-X", "auto.offset.reset=earliest", "-X", "heartbeat.interval.ms=200", "-X", "session.timeout.ms=10000",
                 "-X", "auto.commit.interval.ms=100"]


def parse(line):
    partition, offset, timestamp, key, headers, value = line.split("\t", 5)
    pairs = [pair.split("=", 1) for pair in headers.split(",")] if headers else []
    return {"p": int(partition), "o": int(offset), "t": int(timestamp), "k": key, "v": value, "h": pairs}


class KcatClient:
    name = "kcat"
    header_per_record = False  # -H holds for a whole run
    sets_timestamps = False
    creates_topics = False
    unsupported = {}
    remark = None

    def _kcat(self, target, *args, stdin=""):
        return process.run(["kcat", "-b", target.bootstrap, *args], stdin=stdin)

    def version(self):
        found = re.search(r"Version (\S+) .*?librdkafka ([\d.]+)", process.run(["kcat", "-V"]))
        return f"{found[1]} (librdkafka {found[2]})"

    def create(self, target, topic, partitions):
        raise NotImplementedError("kcat has no admin calls; the suite creates its topics by auto-creation")

    def auto_create(self, target, topic):
        self._kcat(target, "-P", "-t", topic, "-K", "\t", stdin="fan\t0 first\n")

    def produce(self, target, topic, codec, idempotent, records):
        block = len(records) // HEADER_BLOCKS
        for start in range(0, len(records), block):
            part = records[start:start + block]
            headers = [arg for name, value in part[0].headers for arg in ("-H", f"{name}={value}")]
            lines = "".join(f"{r.key}\t{r.value}\n" for r in part)
            self._kcat(target, "-P", "-t", topic, "-K", "\t", "-z", codec, "-X", "max.in.flight=1",
                       "-X", f"enable.idempotence={str(idempotent).lower()}", *headers, stdin=lines)
        return len(records)

    def member(self, target, topic, group, count):
        return KcatMember(["kcat", "-b", target.bootstrap, "-u", "-c", count, "-f", FORMAT, *GROUP_OPTIONS,
                           "-G", group, topic], topic)

    def times(self, target, topic, partitions, timestamps):
        found = {}
        for timestamp in timestamps:
            asked = [arg for p in range(partitions) for arg in ("-t", f"{topic}:{p}:{timestamp}")]
            said = self._kcat(target, "-Q", *asked)
            offsets = {int(p): int(o) for p, o in re.findall(r"\[(\d+)\] offset (-?\d+)", said)}
            found[timestamp] = {p: (o, self._read_at(target, topic, p, timestamp) if o >= 0 else None)
                                for p, o in offsets.items()}
        return found

    def _read_at(self, target, topic, partition, timestamp):
        """Reads by the time itself, not by the offset that was found: kcat's own way."""
        line = self._kcat(target, "-C", "-t", topic, "-p", partition, "-o", f"s@{timestamp}", "-c", "1", "-f", FORMAT)
        return parse(line.rstrip("\n"))


class KcatMember:
    """A group member that leaves by itself after `count` records; kcat commits what it has printed as it leaves."""

    def __init__(self, command, topic):
        self.assigned, self.records = [], []
        self._topic = re.escape(topic)
        self._child = process.Child(command, on_error_line=self._on_error_line)

    def _on_error_line(self, line):
        if ": assigned: " in line:
            self.assigned = [int(p) for p in re.findall(rf"{self._topic} \[(\d+)\]", line.split(": assigned: ")[1])]

    def refresh(self, wait_s):
        del wait_s

    def wait_reached(self):
        deadline = process.Deadline()
        while (line := self._child.line(deadline.left())) is not None:
            self.records.append(parse(line))

    def commit(self):
        """It has committed by leaving."""

    def stop(self):
        self._child.signal(signal.SIGTERM)
        status = self._child.wait()
        self._child.end()
        assert status == 0, self._child.report("did not end well")

    def end(self):
        self._child.end()
