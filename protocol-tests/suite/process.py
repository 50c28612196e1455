"""Child processes: line by line, with deadlines, and never left behind.

Whatever is started here is ended by its own process id: by its owner, by `end_all` when the run ends or is interrupted,
and by the kernel (PR_SET_PDEATHSIG) should the run itself be killed.
"""
import ctypes
import queue
import signal
import subprocess
import threading
import time

DEADLINE_S = 40
STOP_S = 10
STDERR_LINES_KEPT = 200

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_children = []


class ProcessFailed(AssertionError):
    """A client ended with an error, or did not do its part in time."""


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """A child whose standard output is a queue of lines; the last lines of its standard error are kept for reports."""

    def __init__(self, command, env=None, cwd=None, on_error_line=None):
        self.command = [str(part) for part in command]
        self._popen = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, env=env, cwd=cwd, text=True, encoding="utf-8",
                                       preexec_fn=_die_with_parent)
        _children.append(self)
        self.pid = self._popen.pid
        self._lines, self.error_lines, self._on_error_line = queue.Queue(), [], on_error_line
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_out, self._read_err)]
        for reader in self._readers:
            reader.start()

    def _read_out(self):
        for line in self._popen.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _read_err(self):
        for line in self._popen.stderr:
            self.error_lines = self.error_lines[1 - STDERR_LINES_KEPT:] + [line.rstrip("\n")]
            if self._on_error_line:
                self._on_error_line(line.rstrip("\n"))

    def line(self, timeout):
        """The next line; None at the end of the output. Raises queue.Empty when there is none in time."""
        line = self._lines.get(timeout=timeout) if timeout > 0 else self._lines.get_nowait()
        if line is None:
            self._lines.put(None)
        return line

    def send(self, text):
        try:
            self._popen.stdin.write(text)
            self._popen.stdin.flush()
        except BrokenPipeError as error:
            raise ProcessFailed(self.report("ended early")) from error

    def close_input(self):
        self._popen.stdin.close()

    def signal(self, number):
        if self._popen.poll() is None:
            self._popen.send_signal(number)

    def running(self):
        return self._popen.poll() is None

    def wait(self, timeout=DEADLINE_S):
        """Waits for the end and for the last of the output; the exit status."""
        try:
            status = self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise ProcessFailed(self.report(f"still runs after {timeout} s")) from error
        for reader in self._readers:
            reader.join(STOP_S)
        return status

    def end(self):
        """Ends it whatever it does, and forgets it."""
        if self in _children:
            _children.remove(self)
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        self._popen.stdin.close()

    def report(self, what):
        said = "\n".join(self.error_lines[-40:])
        return f"{' '.join(self.command)}: {what}, exit {self._popen.poll()}\n{said}"


def end_all():
    for child in list(_children):
        child.end()


def run(command, stdin="", env=None, timeout=DEADLINE_S):
    """Runs a command to its end and returns its output; a failure carries what it said."""
    done = subprocess.run([str(part) for part in command], input=stdin, env=env, timeout=timeout, text=True,
                          encoding="utf-8", capture_output=True, check=False, preexec_fn=_die_with_parent)
    if done.returncode != 0:
        raise ProcessFailed(f"{' '.join(map(str, command))[:400]}: exit {done.returncode}\n{done.stderr[-4000:]}")
    return done.stdout


class Deadline:
    """One time limit over several waits."""

    def __init__(self, seconds=DEADLINE_S):
        self._end = time.monotonic() + seconds

    def left(self):
        return max(0.0, self._end - time.monotonic())

    def passed(self):
        return self.left() == 0
