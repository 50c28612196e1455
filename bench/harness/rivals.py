"""The systems that count windows beside Tifo's aggregator: Kafka Streams and Spark, as processes on Apache Kafka.

Each is `start(fleet, kafka, topics, settings)` -> something with `pids` (what its CPU and memory are) and `stop()`.
"""

import json
import os
import select
import subprocess
import time

from . import build
from .process import Process, cpu_seconds, rss_mib

START_TIMEOUT_S = 120


class Rival:
    """A process that prints states, the last of which is RUNNING, and ends with its standard input."""

    def __init__(self, name, command, fleet):
        self.name = name
        with open(fleet.log(name), "ab") as errors:
            self.child = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                          cwd=fleet.work, env={**os.environ, "SPARK_LOCAL_DIRS": str(fleet.work), "SPARK_LOCAL_IP": "127.0.0.1"})
        Process.running.append(self)
        self.pids = [self.child.pid]
        self._await_running(fleet.log(name))

    def _await_running(self, log):
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            readable, _, _ = select.select([self.child.stdout], [], [], max(0, deadline - time.monotonic()))
            line = self.child.stdout.readline() if readable else b""
            if not line:
                break
            said = json.loads(line)
            if said["state"] == "RUNNING":
                self.pids += [said["jvm"]] if "jvm" in said else []
                return
        self.stop()
        tail = log.read_text(errors="replace").splitlines()[-5:]
        raise RuntimeError(f"{self.name} did not get ready: " + " | ".join(tail))

    def cpu_seconds(self):
        return sum(cpu_seconds(pid) for pid in self.pids)

    def rss_mib(self, field="VmRSS"):
        return sum(rss_mib(pid, field) for pid in self.pids)

    def stop(self):
        if self in Process.running:
            Process.running.remove(self)
        if self.child.poll() is None:
            self.child.stdin.close()
            try:
                self.child.wait(15)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.child.stdout.close()


def streams(fleet, kafka, raw, out, window_ms, grace_ms):
    lib, classes = fleet.tools.streams
    state = fleet.directory("streams")
    return Rival("streams", ["java", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", f"{classes}:{lib}/*", "Windows", "--bootstrap",
                             kafka.address, "--application", state.name, "--state-dir", state, "--input", raw, "--output", out, "--window-ms", window_ms,
                             "--grace-ms", grace_ms], fleet)


def spark(fleet, kafka, raw, out, window_ms, grace_ms):
    python, lib = fleet.tools.spark
    return Rival("spark", [python, build.BENCH / "rivals/windows_spark.py", kafka.address, raw, out, fleet.directory("spark"), lib, window_ms, grace_ms,
                           1000], fleet)
