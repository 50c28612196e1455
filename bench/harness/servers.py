"""The servers that are compared: how each is started, addressed and stopped.

Each has `start() -> self` with `pid` and `address` set, and `stop()`. Data goes to a directory of its own below the run's work directory.
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from .process import Process

KAFKA_TIMEOUT_S = 120
# Deleted topics free their space at once instead of after a minute, so that the page cache is not full of them. All else is stock.
KAFKA_PROPERTIES = "log.segment.delete.delay.ms=1000\n"


class Tifo:
    name = "tifo"
    prefix = ()

    def __init__(self, fleet, arguments=("--roles", "broker")):
        self.fleet, self.arguments, self.data = fleet, arguments, fleet.directory("tifo")
        self.listen = "127.0.0.1:0"

    def start(self):
        ports = ["--kafka", self.listen, "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]
        where = [] if "--ephemeral" in self.arguments else ["--data-dir", self.data]
        self.process = Process([*self.prefix, self.fleet.tools.tifo, "serve", *self.arguments, *where, *ports], self.fleet.log("tifo"))
        self.pid, self.address = self.process.pid, self.process.ready.get("kafka")
        return self

    def stop(self):
        self.process.stop()

    def kill_9(self):
        self.process.kill_9()


class Kfake:
    name = "kfake"

    def __init__(self, fleet):
        self.fleet, self.data = fleet, fleet.directory("kfake")

    def start(self):
        self.process = Process([self.fleet.tools.kfake, self.data], self.fleet.log("kfake"))
        self.pid, self.address = self.process.pid, self.process.ready["kafka"]
        return self

    def stop(self):
        self.process.stop()

    def kill_9(self):
        self.process.kill_9()


class Floor:
    name = "floor"

    def __init__(self, fleet):
        self.fleet, self.data = fleet, fleet.directory("floor")

    def start(self):
        self.process = Process([self.fleet.tools.floor, self.data / "log"], self.fleet.log("floor"))
        self.pid, self.port = self.process.pid, self.process.ready["port"]
        return self

    def stop(self):
        self.process.stop()

    def kill_9(self):
        self.process.kill_9()


class Kafka:
    """Apache Kafka with its stock heap and JVM options, through the kafka-oracle script."""

    name = "kafka"
    running = []

    def __init__(self, fleet):
        self.fleet, self.run = fleet, fleet.directory("kafka")
        self.port = free_port_pair()
        self.address = f"127.0.0.1:{self.port}"

    def start(self):
        Kafka.running.append(self)
        began = time.monotonic()
        self._oracle("start", self.fleet.tools.oracle_dir, self.port)
        self.ready_ms = (time.monotonic() - began) * 1000
        self.pid = int(self._oracle("pid", self.fleet.tools.oracle_dir, self.port))
        return self

    def stop(self):
        if self in Kafka.running:
            Kafka.running.remove(self)
            self._oracle("stop", self.fleet.tools.oracle_dir, self.port)

    def kill_9(self):
        Kafka.running.remove(self)
        self._oracle("kill", self.fleet.tools.oracle_dir, self.port)

    def _oracle(self, *arguments):
        properties = self.run / "extra.properties"
        properties.write_text(KAFKA_PROPERTIES)
        env = {**os.environ, "KAFKA_ORACLE_RUN": str(self.run), "KAFKA_ORACLE_PROPS": str(properties), "KAFKA_ORACLE_WAIT": str(KAFKA_TIMEOUT_S)}
        env.pop("KAFKA_ORACLE_HEAP", None)
        command = [str(part) for part in (self.fleet.tools.oracle, *arguments)]
        # The broker inherits the pipe of standard error, so only standard output may be waited for.
        with open(self.fleet.log("kafka"), "ab") as errors:
            done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=errors, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"kafka-oracle {arguments[0]} failed; see {self.fleet.log('kafka')}")
        return done.stdout.strip()


class Fleet:
    """Where the servers of one part of the run live."""

    kinds = {"tifo": Tifo, "kafka": Kafka, "kfake": Kfake, "floor": Floor}

    def __init__(self, choice, tools, work):
        self.choice, self.tools, self.work = choice, tools, Path(work)
        self.count = 0

    def make(self, name, *arguments):
        return self.kinds[name](self, *arguments)

    def directory(self, name):
        self.count += 1
        path = self.work / f"{name}-{self.count}-{time.monotonic_ns()}"
        path.mkdir()
        return path

    def log(self, name):
        return self.work / f"{name}.log"

    @staticmethod
    def drop(server):
        """Stops a server and removes its data, so that no write-back of it disturbs the next."""
        server.stop()
        shutil.rmtree(getattr(server, "data", None) or server.run, ignore_errors=True)


def free_port_pair():
    """A port whose successor is free too: the oracle's controller listens there."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
                return port
            except (OSError, OverflowError):
                continue
    raise RuntimeError("no two free ports in a row")


def stop_all():
    for server in list(Kafka.running):
        server.stop()
    for process in list(Process.running):
        process.stop()
