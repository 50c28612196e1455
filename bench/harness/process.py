"""One child process and what /proc says of it."""

import json
import select
import subprocess
import time
from pathlib import Path

STOP_TIMEOUT_S = 30


class Process:
    """A server that prints one JSON line when it is ready (none is waited for without a time-out). Ended by its own pid, whatever happens."""

    running = []

    def __init__(self, command, log, ready_timeout_s=30, stdin=None):
        self.began = time.monotonic()
        with open(log, "ab") as errors:
            self.child = subprocess.Popen([str(part) for part in command], stdin=stdin, stdout=subprocess.PIPE, stderr=errors)
        Process.running.append(self)
        self.pid = self.child.pid
        self.ready = self._ready_line(ready_timeout_s, log) if ready_timeout_s else None
        self.ready_ms = (time.monotonic() - self.began) * 1000

    def _ready_line(self, timeout_s, log):
        line = self.line(timeout_s)
        if not line:
            self.stop()
            tail = Path(log).read_text(errors="replace").splitlines()[-5:]
            raise RuntimeError(f"{self.child.args[0]} did not get ready: " + " | ".join(tail))
        return json.loads(line)

    def line(self, timeout_s):
        """The next line of its output; nothing when it has ended, or is silent."""
        readable, _, _ = select.select([self.child.stdout], [], [], timeout_s)
        return self.child.stdout.readline() if readable else b""

    def kill_9(self):
        Process.running.remove(self)
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()

    def stop(self):
        if self in Process.running:
            Process.running.remove(self)
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.child.stdout.close()


def rss_mib(pid, field="VmRSS"):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field} of {pid}")


def rss_bytes(pid):
    """Summed up page by page: VmRSS is kept per thread and may be half a megabyte behind."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no Rss of {pid}")


def cpu_seconds(pid):
    """Of all its threads, from the scheduler's own nanoseconds (drivers/cpu.h says why)."""
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9
