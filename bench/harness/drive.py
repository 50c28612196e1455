"""Runs a load program and returns the JSON line that it prints."""

import json
import subprocess
from contextlib import contextmanager

LOAD_TIMEOUT_S = 600


def load(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=LOAD_TIMEOUT_S, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise RuntimeError(f"{' '.join(str(part) for part in command)}: {(done.stderr or 'no output').strip()[-400:]}")
    return json.loads(lines[-1])


class Topic:
    """A topic on a server for the length of one measurement."""

    def __init__(self, fleet, server, name, partitions, config=()):
        self.base = ["-b", server.address, "-t", name, "-p", partitions]
        self.program, self.pid = fleet.tools.log_load, server.pid
        self.run("create", *config)

    def run(self, mode, *arguments):
        return load([self.program, mode, *self.base, "-P", self.pid, *arguments])

    def delete(self):
        self.run("delete")


@contextmanager
def warm_kafka(fleet, names, warm):
    """Apache Kafka for a whole part, warmed up: a JVM is at its best only then. None when it is not measured."""
    kafka = fleet.make("kafka").start() if "kafka" in names else None
    if kafka:
        warm(kafka)
    yield kafka
    if kafka:
        fleet.drop(kafka)


def in_turn(fleet, names, kafka, part, results, once):
    """`once(server)` for one after the other; all but Kafka are started afresh. One that fails is reported as failing, the others go on."""
    for name in names:
        server = kafka if name == "kafka" else fleet.make(name).start()
        try:
            once(server)
        except RuntimeError as error:
            results.fail(part, name, str(error))
        if server is not kafka:
            fleet.drop(server)
