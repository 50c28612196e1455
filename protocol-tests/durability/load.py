"""The producers: three stock clients, each in three modes, that write until they are told to stop and never die themselves."""
import queue
import sys
import threading

from durability.ledger import Ledger
from suite import process

# name of the mode: acks, idempotent, codec
MODES = {"idempotent": ("all", "true", "none"), "plain-all": ("all", "false", "lz4"), "plain-1": ("1", "false", "none")}
KEYS = 500  # as the helper programs have it
PROGRESS_S = 60
STOP_S = 90


def commands(places, oracle_dir):
    """The load program of each stock client."""
    java = ["java", "-Xmx256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={oracle_dir}/tools-log4j2.properties",
            "-cp", f"{oracle_dir}/lib/*:{places.java}", "LoadProducer"]
    # The JVM first: it takes longest to get going, and the others would run ahead.
    return {"java": java, "librdkafka": [sys.executable, places.helpers / "python" / "load_producer.py"],
            "franz-go": [places.bin / "load"]}


def is_idempotent(stream):
    return stream[0].endswith("/idempotent")


class Load:
    """All producers, and the ledger of what they say."""

    def __init__(self, programs, bootstrap, topics, rate):
        self.ledger, self._news = Ledger(), threading.Condition()
        self.producers = [f"{client}/{mode}" for client in programs for mode in MODES]
        targets = ",".join(f"{topic}:{partitions}" for topic, partitions in topics.items())
        self._children, self._readers = [], []
        for client, program in programs.items():
            self._start([*program, "--bootstrap", bootstrap, "--targets", targets, "--rate", rate, "--modes", modes_of(client)])
            self.await_acknowledgements(1, [name for name in self.producers if name.startswith(client)])

    def _start(self, command):
        child = process.Child(command)
        self._children.append(child)
        self._readers.append(threading.Thread(target=self._read, args=(child,), daemon=True))
        self._readers[-1].start()

    def _read(self, child):
        while (line := next_line(child)) is not None:
            with self._news:
                self.ledger.take(line)
                self._news.notify()

    def acknowledged(self):
        with self._news:
            return dict(self.ledger.acknowledged)

    def await_acknowledgements(self, more, producers=None):
        """Until every producer (of those named) has got at least one more, and all together `more`."""
        before, producers = self.acknowledged(), producers or self.producers

        def enough():
            gained = {name: self.ledger.acknowledged[name] - before.get(name, 0) for name in producers}
            return sum(gained.values()) >= more and all(gained.values())

        with self._news:
            if not self._news.wait_for(enough, PROGRESS_S):
                stuck = [name for name in producers if self.ledger.acknowledged[name] == before.get(name, 0)]
                raise AssertionError(f"not {more} acknowledgements within {PROGRESS_S} s; none at all for {stuck}\n{self._said()}")

    def stop(self):
        """Everything sent is answered; the ledger is complete."""
        for child in self._children:
            child.close_input()
        statuses = [child.wait(STOP_S) for child in self._children]
        for reader in self._readers:
            reader.join(STOP_S)
        assert not any(statuses), self._said()
        return self.ledger

    def end(self):
        for child in self._children:
            child.end()

    def _said(self):
        return "\n".join(child.report("said") for child in self._children)


def modes_of(client):
    return ",".join(":".join((f"{client}/{mode}", *how)) for mode, how in MODES.items())


def next_line(child):
    while True:
        try:
            return child.line(PROGRESS_S)
        except queue.Empty:
            continue
