"""The clients that stand behind the helper contract (README.md): one small program each, whatever its language."""
import json
import queue

from suite import process
from suite.workload import stdin_of


class HelperClient:
    """A stock client, driven through its helper program."""

    header_per_record = True
    sets_timestamps = True
    creates_topics = True

    def __init__(self, name, command, unsupported=None, remark=None):
        self.name, self.command, self.unsupported, self.remark = name, command, unsupported or {}, remark

    def _lines(self, words, stdin):
        """What the helper prints, once it has ended well."""
        return process.run([*self.command, *words], stdin=stdin).splitlines()

    def _start(self, words):
        return process.Child([*self.command, *words])

    def _run(self, verb, target, *args, stdin=""):
        return [json.loads(line) for line in self._lines([verb, "--bootstrap", target.bootstrap, *args], stdin)]

    def version(self):
        return json.loads(self._lines(["version"], "")[0])["version"]

    def create(self, target, topic, partitions):
        assert self._run("create", target, "--topic", topic, "--partitions", partitions) == [{"created": topic}]

    def produce(self, target, topic, codec, idempotent, records, extra=()):
        """The number of records that the client was told are stored."""
        flags = ["--idempotent"] if idempotent else []
        said = self._run("produce", target, "--topic", topic, "--codec", codec, *flags, *extra, stdin=stdin_of(records))
        return said[-1]["produced"]

    def member(self, target, topic, group, count, protocol="classic"):
        """`protocol`: of the group; `consumer` is that of KIP-848, which few clients speak."""
        words = ["member", "--bootstrap", target.bootstrap, "--topic", topic, "--group", group, "--count", count]
        return HelperMember(self._start(words if protocol == "classic" else [*words, "--protocol", protocol]))

    def times(self, target, topic, partitions, timestamps):
        """{timestamp: {partition: (offset or -1, the record read from there or None)}}"""
        found = {timestamp: {} for timestamp in timestamps}
        for said in self._run("times", target, "--topic", topic, "--timestamps", ",".join(map(str, timestamps))):
            found[said["timestamp"]][said["partition"]] = (said["offset"], said["read"])
        return found


class HelperMember:
    """One member of a group, as its helper program tells of it."""

    def __init__(self, child):
        self._child = child
        self.assigned, self.records, self._said = [], [], set()

    def _take(self, timeout):
        line = self._child.line(timeout)
        if line is None:
            self._child.wait()
            raise process.ProcessFailed(self._child.report("ended early"))
        event = json.loads(line)
        if "record" in event:
            self.records.append(event["record"])
        elif "assigned" in event:
            self.assigned = event["assigned"]
        else:
            self._said.update(event)

    def _take_until(self, word):
        deadline = process.Deadline()
        while word not in self._said:
            try:
                self._take(deadline.left())
            except queue.Empty:
                raise process.ProcessFailed(self._child.report(
                    f"no `{word}` in time; {len(self.records)} records, assigned {self.assigned}")) from None

    def refresh(self, wait_s):
        """Takes what the member has said; waits for at most one event."""
        try:
            self._take(wait_s)
            while True:
                self._take(0)
        except queue.Empty:
            pass

    def wait_reached(self):
        self._take_until("reached")

    def wait_assigned(self, is_wanted):
        """Until its assignment is as wanted."""
        deadline = process.Deadline()
        while not is_wanted(self.assigned):
            try:
                self._take(deadline.left())
            except queue.Empty:
                raise process.ProcessFailed(self._child.report(f"still assigned {self.assigned}")) from None

    def commit(self):
        self._child.send("commit\n")
        self._take_until("committed")

    def stop(self):
        self._child.send("stop\n")
        self._take_until("stopped")
        status = self._child.wait()
        self._child.end()
        assert status == 0, self._child.report("did not end well")

    def end(self):
        self._child.end()
