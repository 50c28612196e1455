"""The two brokers that every case runs against: Tifo, and Apache Kafka as the judge of the cases themselves."""
import itertools
import json
import os
import queue
import shutil
import signal
import socket
import tempfile
from pathlib import Path

from suite import process

READY_S = 60
ORACLE_STARTS = 3
ORACLE_HEAP = "-Xms256M -Xmx768M"
# Its timers are minutes (the log manager's), 15 s (the cleaner's), 10 s (of transactions that take too long); and the controller gathers
# changes for 25 ms. What Kafka does is asked here, not when. Limits are low, so that cases reach them. It tells clients that they can
# push their metrics only if something takes them.
ORACLE_SETTINGS = {"log.initial.task.delay.ms": 500, "log.retention.check.interval.ms": 500, "log.cleaner.backoff.ms": 500,
                   "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500, "controller.quorum.append.linger.ms": 0,
                   "max.request.partition.size.limit": 4, "telemetry.max.bytes": 500,
                   "metric.reporters": "MetricsTaker,org.apache.kafka.common.metrics.JmxReporter"}


class Target:
    """A running broker: `bootstrap`, and where its segment files lie."""

    _numbers = itertools.count(1)

    def new_name(self, stem):
        """A name that no other case uses: all cases share one broker."""
        return f"{stem}-{next(self._numbers)}"

    def partition_dir(self, topic, partition):
        found = list(Path(self.data_dir).glob(f"**/{topic}-{partition}"))
        assert len(found) == 1, f"{self.name}: {topic}-{partition} is at {found} below {self.data_dir}"
        return found[0]

    def partition_dir_of_group(self, group):
        """Where the group's records lie: as Java hashes its name."""
        found = {int(path.name.rsplit("-", 1)[1]): path for path in Path(self.data_dir).glob("**/__consumer_offsets-*")}
        number = 0
        for letter in group:
            number = (31 * number + ord(letter)) & 0xFFFF_FFFF
        return found[abs(number - (1 << 32) if number >> 31 else number) % len(found)]

    def files(self, topic, partition, suffix):
        files = sorted(self.partition_dir(topic, partition).glob(f"*{suffix}"))
        assert files, f"{self.name}: no {suffix} file of {topic}-{partition}"
        return files


class Tifo(Target):
    name = "tifo"

    def __init__(self, binary, data_dir=None, log_path=None, env=None):
        """Without a data directory it is ephemeral: free ports, data that goes with it. `env`: settings beside the usual ones."""
        place = ["--ephemeral"] if data_dir is None else [
            "--data-dir", data_dir, "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]
        log = open(log_path, "a", encoding="utf-8") if log_path else None
        self._child = process.Child([binary, "serve", *place], cwd=tempfile.gettempdir(),
                                    env={**os.environ, **(env or {})},
                                    on_error_line=(lambda line: print(line, file=log, flush=True)) if log else None)
        try:
            ready = self._child.line(READY_S)
        except queue.Empty:
            ready = None
        if ready is None:
            raise process.ProcessFailed(self._child.report("no ready line"))
        self.ready = json.loads(ready)
        assert self.ready["event"] == "ready", ready
        self.bootstrap, self.data_dir = self.ready["kafka"], self.ready["data_dir"]
        self.http, self.mqtt, self.mqtt_ws = self.ready["http"], self.ready["mqtt"], self.ready["mqtt_ws"]
        self.pid = self._child.pid

    def kill_9(self):
        self._child.signal(signal.SIGKILL)
        self._child.wait()
        self._child.end()

    def stop(self):
        """A clean stop, which must end well and say nothing more on standard output."""
        self._child.signal(signal.SIGTERM)
        status = self._child.wait()
        rest = self._child.line(0)
        report = self._child.report("after SIGTERM")
        self._child.end()
        assert (status, rest) == (0, None), f"{report}\n{rest}"

    def end(self):
        self._child.end()


class Kafka(Target):
    name = "kafka"

    def __init__(self, script, oracle_dir, run_dir, metrics_taker):
        """`metrics_taker`: the jar of helpers/java/MetricsTaker."""
        self._script, self._dir, self._run_dir = script, oracle_dir, Path(run_dir)
        settings = self._run_dir / "settings.properties"
        settings.write_text("".join(f"{name}={value}\n" for name, value in ORACLE_SETTINGS.items()), encoding="ascii")
        self._env = {**os.environ, "KAFKA_ORACLE_RUN": str(run_dir), "KAFKA_ORACLE_HEAP": ORACLE_HEAP,
                     "KAFKA_ORACLE_PROPS": str(settings), "KAFKA_ORACLE_JVM": f"-javaagent:{metrics_taker}"}
        for start in range(1, ORACLE_STARTS + 1):
            try:
                self._start()
                break
            except process.ProcessFailed:
                # A port that was free may be taken before the oracle has it: then others are tried.
                if start == ORACLE_STARTS:
                    raise
        self.data_dir = self._run_dir / self._port / "data"

    def _start(self):
        self._port = str(two_free_ports())
        try:
            self.bootstrap = process.run([self._script, "start", self._dir, self._port], env=self._env, timeout=READY_S * 2).strip()
        except BaseException:
            self._kill_half_started()
            raise

    def settings(self):
        """What it was started with, by name."""
        lines = (self._run_dir / self._port / "server.properties").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    def _kill_half_started(self):
        pid_file = self._run_dir / self._port / "broker.pid"
        if pid_file.exists():
            os.kill(int(pid_file.read_text(encoding="ascii")), signal.SIGKILL)

    def end(self):
        """Its data goes with it, so it need not be closed, which takes a minute for thousands of topics."""
        process.run([self._script, "kill", self._dir, self._port], env=self._env, timeout=READY_S * 2)
        shutil.rmtree(self._run_dir / self._port, ignore_errors=True)


def two_free_ports():
    """A port whose successor is free, too: the oracle uses both."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
