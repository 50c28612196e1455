"""Tifo and the programs of a run, and what is done to them: kill -9, SIGSTOP. Seen over HTTP while it happens."""
import http.client
import json
import queue
import signal
import threading
import urllib.error
import urllib.request

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from rig import Tifo as Process
from suite import process

ADMIN_S = 30
READ_S = 60
LOOK_EVERY_S = 0.05


class Broker(Process):
    """On the same addresses after a kill, so that clients find it again."""

    def __init__(self, binary, data_dir):
        super().__init__(binary, data_dir, "--roles", "broker,http")

    @property
    def bootstrap(self):
        return self.ready["kafka"]

    def kill_and_start(self):
        self.kill()
        self.start()

    def stop_for(self, seconds):
        """It stands still, as a machine does that swaps or migrates: connections stay open."""
        self.process.send_signal(signal.SIGSTOP)
        self.go_on_after(seconds)

    def go_on_after(self, seconds):
        try:
            threading.Event().wait(seconds)
        finally:
            self.process.send_signal(signal.SIGCONT)

    def advertise(self, address):
        """What clients are told, from the next request on and after a kill too."""
        setting = ConfigEntry("advertised.listeners", f"PLAINTEXT://{address}", incremental_operation=AlterConfigOpType.SET)
        own = ConfigResource(ConfigResource.Type.BROKER, "0", incremental_configs=[setting])
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.incremental_alter_configs([own]).values():
            future.result(ADMIN_S)

    def get(self, path, timeout=90):
        with urllib.request.urlopen(f"{self.http}{path}", timeout=timeout) as answer:
            return json.load(answer)

    def create(self, **partitions):
        new = [NewTopic(topic, count, 1) for topic, count in partitions.items()]
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.create_topics(new).values():
            future.result(ADMIN_S)


class Program:
    """A program that prints JSON lines; started again under the same words after a kill."""

    def __init__(self, command):
        self._command, self._child = command, None

    def start(self):
        self._child = process.Child(self._command)

    def kill_and_start(self):
        self._child.signal(signal.SIGKILL)
        self._child.wait()
        self._child.end()
        self.start()

    def await_line(self, holds, seconds=120):
        """Until it prints a line of which this holds."""
        deadline = process.Deadline(seconds)
        try:
            while (line := self._child.line(deadline.left())) is not None:
                if holds(json.loads(line)):
                    return
        except queue.Empty:
            pass
        raise process.ProcessFailed(self._child.report(f"not within {seconds} s"))

    def close_input(self):
        self._child.close_input()

    def stop(self):
        self.close_input()
        status = self._child.wait(60)
        assert status == 0, self._child.report("stopped badly")

    def end(self):
        if self._child:
            self._child.end()

    def report(self):
        return self._child.report("said") if self._child else ""


class Watcher:
    """Looks at a group's committed offsets again and again, while there is a broker to ask."""

    def __init__(self, broker, group):
        self._broker, self._group, self.observations = broker, group, []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stopped.wait(LOOK_EVERY_S):
            try:
                found = self._broker.get(f"/v1/groups/{self._group}", timeout=5)
            except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError):
                continue
            self.observations.append({(offset["topic"], offset["partition"]): offset["committed"]
                                      for offset in found["offsets"] if offset["committed"] is not None})

    def stop(self):
        self._stopped.set()
        self._thread.join()
        return self.observations


class Source:
    """Writes numbered values, one after the other in each partition, whatever happens to the broker meanwhile."""

    def __init__(self, broker, topic, partitions, value=str, rate=500):
        self._topic, self._partitions, self._value, self._rate = topic, partitions, value, rate
        self.written = {partition: [] for partition in range(partitions)}
        self.failed = []
        self._producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "linger.ms": 5,
                                   "message.timeout.ms": 300_000, "reconnect.backoff.max.ms": 200, "log_level": 2})
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        number = 0
        while not self._stopped.wait(0.02):
            for number in range(number, number + self._rate // 50):
                partition = number % self._partitions
                value = self._value(number)
                self.written[partition].append(value)
                self._producer.produce(self._topic, value, partition=partition, on_delivery=self._delivered)
            number += 1
            self._producer.poll(0)

    def _delivered(self, error, _):
        if error:
            self.failed.append(str(error))

    def stop(self):
        """Everything is written."""
        self._stopped.set()
        self._thread.join()
        assert self._producer.flush(ADMIN_S * 2) == 0 and not self.failed, self.failed[:5]
        return self.written


def read_committed(broker, topic, partitions):
    """Key and value of every committed record, by partition, in order."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "judge", "enable.auto.commit": False,
                         "isolation.level": "read_committed", "enable.partition.eof": True, "log_level": 2})
    found, open_partitions = {partition: [] for partition in range(partitions)}, set(range(partitions))
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        deadline = process.Deadline(READ_S)
        while open_partitions:
            assert not deadline.passed(), f"{topic}: the end of {open_partitions} did not come"
            for message in consumer.consume(1000, timeout=0.5):
                if message.error():
                    open_partitions.discard(message.partition())
                else:
                    key = message.key()
                    found[message.partition()].append((key.decode() if key else None, message.value().decode()))
        return found
    finally:
        consumer.close()
