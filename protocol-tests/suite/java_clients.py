"""kafka-clients, in a version of its own in a JVM of its own: the helper contract, with ToolServer in place of processes."""
import queue

from suite import process
from suite.helpers import HelperClient
from suite.java_tools import LIVE


class JavaClient(HelperClient):
    def __init__(self, name, server):
        super().__init__(name, None)
        self._server = server

    def _lines(self, words, stdin):
        return self._server.run("kafka-clients", *words, stdin=stdin)

    def _start(self, words):
        return LiveTool(self._server.start("kafka-clients", words, LIVE))


class LiveTool:
    """What a HelperMember needs of a child process, of a tool in a JVM."""

    def __init__(self, tool):
        self._tool, self._status = tool, None

    def line(self, timeout):
        """The next line; None at the end of the output. Raises queue.Empty when there is none in time."""
        deadline = process.Deadline(timeout)
        while self._status is None:
            left = deadline.left()
            event = self._tool.events.get(timeout=left) if left else self._tool.events.get_nowait()
            if "out" in event:
                return event["out"]
            if "err" in event:
                self._tool.errors.append(event["err"])
            else:
                self._status = event["exit"]
        return None

    def send(self, text):
        self._tool.feed(text.rstrip("\n"))

    def wait(self, timeout=process.DEADLINE_S):
        deadline = process.Deadline(timeout)
        try:
            while self.line(deadline.left()) is not None:
                pass
        except queue.Empty:
            raise process.ProcessFailed(self.report(f"still runs after {timeout} s")) from None
        return self._status

    def end(self):
        if self._status is None:
            self._tool.stop()

    def report(self, what):
        return self._tool.report(f"{what}, exit {self._status}")
