"""confluent-kafka (librdkafka) behind the load contract (durability/README.md): several producers, one thread each.

It judges nothing: it prints what its client acknowledged or gave up, and at the end how much it sent.
"""
import argparse
import itertools
import sys
import threading
import time
import zlib

from confluent_kafka import Producer

TICK_S = 0.01
FLUSH_S = 60
FILLER = "goal! cheer wave clap " * 40
KEYS = 500

_out_lock = threading.Lock()


def say(lines):
    with _out_lock:
        sys.stdout.writelines(lines)
        sys.stdout.flush()


class Load:
    """One producer and the numbers it has given out, per topic and partition."""

    def __init__(self, args, mode):
        self.name, acks, idempotent, codec = mode.split(":")
        self.said, self.sent = [], {}
        self.rate = args.rate
        for target in args.targets.split(","):
            topic, partitions = target.split(":")
            self.sent.update({(topic, partition): 0 for partition in range(int(partitions))})
        plain = {} if idempotent == "true" else {"max.in.flight.requests.per.connection": 1}
        self.producer = Producer({
            "bootstrap.servers": args.bootstrap, "acks": acks, "enable.idempotence": idempotent == "true", "compression.type": codec,
            "linger.ms": 5, "batch.num.messages": 50, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 20,
            "retry.backoff.max.ms": 100, "log_level": 2, **plain})

    def run(self, stopping):
        turns, turn, began = itertools.cycle(self.sent), 0, time.monotonic()
        while not stopping.is_set():
            while turn < (time.monotonic() - began) * self.rate:
                self.send(*next(turns))
                turn += 1
            self.producer.poll(TICK_S)
            self.flush_said()
        left = self.producer.flush(FLUSH_S)
        self.flush_said()
        say([f"sent {self.name} {topic} {partition} {count}\n" for (topic, partition), count in self.sent.items()])
        assert left == 0, f"{self.name}: {left} records are still on their way"

    def send(self, topic, partition):
        number = self.sent[topic, partition]
        stamp = f"{self.name} {topic} {partition} {number}"
        filler = FILLER[:number * 7919 % 700]
        crc = zlib.crc32(f"{stamp} {filler}".encode())

        def done(error, message):
            self.said.append(f"gave-up {stamp} {error.str()}\n" if error else f"ack {stamp} {message.offset()}\n")

        try:
            self.producer.produce(topic, partition=partition, key=f"{self.name}-{number % KEYS}", value=f"{stamp} {crc:08x} {filler}",
                                  on_delivery=done)
            self.sent[topic, partition] = number + 1
        except BufferError:
            self.producer.poll(TICK_S)

    def flush_said(self):
        lines, self.said = self.said, []
        if lines:
            say(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--targets", required=True, help="TOPIC:PARTITIONS,…")
    parser.add_argument("--modes", required=True, help="NAME:ACKS:IDEMPOTENT:CODEC,…")
    parser.add_argument("--rate", type=float, required=True, help="records a second of each mode")
    args = parser.parse_args()
    stopping = threading.Event()
    threads = [threading.Thread(target=Load(args, mode).run, args=(stopping,)) for mode in args.modes.split(",")]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stopping.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
