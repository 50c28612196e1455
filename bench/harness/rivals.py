"""The systems that count windows beside Tifo's aggregator: Kafka Streams and Spark, as processes on Apache Kafka.

Each is `start(fleet, kafka, topics, settings)` -> something with `pids` (what its CPU and memory are) and `stop()`.
"""

import json
import os
import queue
import subprocess
import threading
import time

from . import build
from .process import Process, cpu_seconds, rss_mib

# A JVM on a busy machine takes its time, Spark two of them.
START_TIMEOUT_S = 300
COUNT_TIMEOUT_S = 300


class Rival:
    """A process that prints JSON lines: its states, of which RUNNING is awaited, and how many events it has counted. Ends with its standard input."""

    def __init__(self, name, command, fleet):
        self.name, self.log = name, fleet.log(name)
        with open(self.log, "ab") as errors:
            self.child = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                          cwd=fleet.work, env={**os.environ, "SPARK_LOCAL_DIRS": str(fleet.work), "SPARK_LOCAL_IP": "127.0.0.1"})
        Process.running.append(self)
        self.pids, self.said = [self.child.pid], queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        running = self._await(lambda said: said.get("state") == "RUNNING", START_TIMEOUT_S, "did not get ready")
        self.pids += [running["jvm"]] if "jvm" in running else []

    def _read(self):
        for line in self.child.stdout:
            if line.startswith(b"{"):
                self.said.put(json.loads(line))
        self.said.put(None)

    def _await(self, wanted, timeout_s, failure):
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                said = self.said.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                said = None
            if said is None:
                self.stop()
                tail = self.log.read_text(errors="replace").splitlines()[-5:]
                raise RuntimeError(f"{self.name} {failure}: " + " | ".join(tail))
            if wanted(said):
                return said

    def await_counted(self, events):
        self._await(lambda said: said.get("counted", 0) >= events, COUNT_TIMEOUT_S, f"did not count {events} events")

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
