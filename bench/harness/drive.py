"""Runs a load program and returns the JSON line that it prints."""

import json
import subprocess

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
