"""Faults of the operating system, for real: strace answers system calls of a running broker with errors or delays; a small disk fills up."""
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from suite.process import Child, Deadline

WRITES = "write,writev,pwrite64,pwritev,pwritev2"
SYNCS = "fsync,fdatasync"
ATTACH_S = 20
LOOK_AGAIN_S = 0.01


@contextmanager
def injected(pid, *injections, path=None):
    """While the block runs, the process meets the faults: strace's `inject=` expressions, on one file only if `path` is given."""
    only = ["-P", path] if path else []
    faults = [word for injection in injections for word in ("-e", f"inject={injection}")]
    # Only what is injected is traced, so that nothing else is slowed down much; what strace says goes nowhere.
    names = ",".join(injection.split(":")[0] for injection in injections)
    tracer = Child(["strace", "-f", "-qq", "-o", "/dev/null", "-p", pid, *only, "-e", f"trace={names}", *faults])
    try:
        await_tracer(pid, tracer)
        yield
    finally:
        tracer.end()


def await_tracer(pid, tracer):
    """Until every thread is traced."""
    deadline = Deadline(ATTACH_S)
    while not all(traced(task) for task in Path(f"/proc/{pid}/task").iterdir()):
        assert tracer.running() and not deadline.passed(), tracer.report("did not attach")
        time.sleep(LOOK_AGAIN_S)


def traced(task):
    try:
        return "TracerPid:\t0\n" not in (task / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True  # The thread has ended meanwhile.


@contextmanager
def small_disk(place, megabytes):
    """A file system of so many MB at `place`."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def active_log(tifo, topic, partition=0):
    """The path of the active segment's file."""
    found = sorted(Path(tifo.data_dir).glob(f"**/{topic}-{partition}/*.log"))
    assert found, f"no segment of {topic}-{partition}"
    return found[-1]
