"""A Tifo process under test, and small readers of what came out of it."""

import json
import os
import pathlib
import queue
import signal
import subprocess
import threading
import time

from confluent_kafka import Consumer, TopicPartition

START_SECONDS = 20
STOP_SECONDS = 20
READ_SECONDS = 10


class Tifo:
    """`tifo serve` on a data folder; can be killed and started again on the same addresses."""

    def __init__(self, binary, data_dir, *flags):
        self.binary, self.data_dir, self.flags = str(binary), str(data_dir), list(flags)
        self.ready, self.process = None, None
        self.log_path = pathlib.Path(f"{data_dir}.log")

    def start(self):
        command = [self.binary, "serve", "--data-dir", self.data_dir]
        for part in ("kafka", "http", "mqtt"):
            command += [f"--{part}", (self.ready or {}).get(part, "0")]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command + self.flags, stdout=subprocess.PIPE, stderr=log)
        line = read_line(self.process, START_SECONDS)
        assert line, f"no ready line; the log says:\n{self.log()}"
        self.ready = json.loads(line)
        assert self.ready["event"] == "ready"
        return self

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def terminate(self):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def close(self):
        if self.alive():
            self.kill()

    @property
    def http(self):
        return f"http://{self.ready['http']}"


def read_line(process, seconds):
    """The first line of standard output, or nothing when the process ends or the time is up."""
    lines = queue.Queue()
    threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True).start()
    try:
        return lines.get(timeout=seconds).decode()
    except queue.Empty:
        return ""


def read_topic(bootstrap, topic):
    """Every record of a topic, by a stock client: (partition, offset, key, value, headers, timestamp)."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False,
                         "isolation.level": "read_uncommitted", "enable.partition.eof": False})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ends = {}
        for partition in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            if high > low:
                ends[partition] = high
        consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
        records, open_partitions, seen = [], set(ends), time.monotonic()
        while open_partitions:
            batch = consumer.consume(5000, timeout=0.2)
            seen = time.monotonic() if batch else seen
            silent = time.monotonic() - seen
            assert silent < READ_SECONDS, f"{topic}: nothing more came, but {open_partitions} are not read to their ends {ends}"
            for message in batch:
                assert message.error() is None, message.error()
                records.append(Record(message))
                if message.offset() + 1 >= ends[message.partition()]:
                    open_partitions.discard(message.partition())
        return records
    finally:
        consumer.close()


class Record:
    def __init__(self, message):
        self.partition, self.offset = message.partition(), message.offset()
        self.key, self.value = message.key(), message.value()
        self.headers = dict(message.headers() or [])
        self.timestamp = message.timestamp()[1]

    def json(self):
        return json.loads(self.value)


def eventually(check, seconds=60, every=0.05):
    """Waits until `check()` returns something true, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {check.__doc__ or check}"
        time.sleep(every)
