"""A worker of Kafka Connect in distributed mode, spoken to over its REST API."""
import json
import signal
import time
import urllib.error
import urllib.request

from suite import process
from suite.targets import free_port

START_S = 90
LOOK_EVERY_S = 0.1
# Connect's own three topics are compacted and made by the worker itself; offsets and records of a source go in one transaction.
SETTINGS = {
    "group.id": "connect", "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    "value.converter": "org.apache.kafka.connect.storage.StringConverter",
    "config.storage.topic": "connect-configs", "offset.storage.topic": "connect-offsets", "status.storage.topic": "connect-status",
    "config.storage.replication.factor": 1, "offset.storage.replication.factor": 1, "status.storage.replication.factor": 1,
    "exactly.once.source.support": "enabled", "offset.flush.interval.ms": 500,
    "scheduled.rebalance.max.delay.ms": 500, "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000,
}


class Worker:
    def __init__(self, broker, folder, lib):
        self._port = free_port()
        own = {"bootstrap.servers": broker.bootstrap, "listeners": f"http://127.0.0.1:{self._port}", "plugin.path": lib}
        self._properties = folder / f"worker-{self._port}.properties"
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in {**SETTINGS, **own}.items()), encoding="ascii")
        self._command = ["java", "-Xmx384M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                         "-cp", f"{lib}/*", "org.apache.kafka.connect.cli.ConnectDistributed", str(self._properties)]
        self._child = None

    def start(self):
        self._child = process.Child(self._command)
        return self

    def kill_9(self):
        self._child.signal(signal.SIGKILL)
        self._child.wait()
        self._child.end()

    def end(self):
        if self._child:
            self._child.end()

    def report(self):
        return self._child.report("said")

    def put(self, name, **config):
        """Makes a connector, as soon as the group has a leader that takes it."""
        self.until(lambda: self._ask("PUT", f"/connectors/{name}/config", config), f"connector {name} is taken")

    def await_running(self, name):
        def running():
            status = self._ask("GET", f"/connectors/{name}/status")
            return status["tasks"] and all(part["state"] == "RUNNING" for part in [status["connector"], *status["tasks"]])

        self.until(running, f"{name} runs")

    def until(self, holds, what, seconds=START_S):
        deadline = process.Deadline(seconds)
        while True:
            try:
                if holds():
                    return
                last = "not yet"
            except (urllib.error.URLError, OSError, ValueError) as error:
                last = error.read().decode() if isinstance(error, urllib.error.HTTPError) else error
            if deadline.passed() or not self._child.running():
                raise process.ProcessFailed(self.report(f"{what}: not within {seconds} s ({last})"))
            time.sleep(LOOK_EVERY_S)

    def _ask(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", method=method, headers={"content-type": "application/json"},
                                         data=json.dumps(body).encode() if body else None)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
