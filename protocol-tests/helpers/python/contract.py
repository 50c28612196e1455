"""The helper contract, for clients written in Python (README.md describes it for all languages).

One helper is one stock client. It turns the three verbs `create`, `produce` and `member` (and the look-up `times`) into
calls of its client and prints what the client saw as JSON lines; `version` tells which client it is. It judges nothing:
the suite compares.
"""
import argparse
import json
import queue
import sys
import threading
from dataclasses import dataclass, field

POLL_S = 0.1
HEARTBEAT_MS = 200
SESSION_MS = 10_000


@dataclass
class Record:
    key: str
    value: str
    headers: list = field(default_factory=list)
    timestamp: int = 0
    partition: int = -1
    offset: int = -1

    @classmethod
    def from_line(cls, line):
        raw = json.loads(line)
        return cls(raw["k"], raw["v"], [(n, v) for n, v in raw["h"]], raw["t"])

    def as_json(self):
        return {"p": self.partition, "o": self.offset, "t": self.timestamp,
                "k": self.key, "v": self.value, "h": self.headers}


def text(raw):
    return None if raw is None else bytes(raw).decode()


def received(partition, offset, timestamp, key, value, headers):
    """A record as the client delivered it, its bytes turned into text."""
    return Record(text(key), text(value), [(n, text(v)) for n, v in headers or []], timestamp, partition, offset)


def say(**event):
    sys.stdout.write(json.dumps(event, ensure_ascii=False) + "\n")


def flush():
    sys.stdout.flush()


def stdin_commands():
    """The suite's commands (`commit`, `stop`) as they come; the end of standard input is a `stop`."""
    commands = queue.Queue()

    def pump():
        for line in sys.stdin:
            commands.put(line.strip())
        commands.put("stop")

    threading.Thread(target=pump, daemon=True).start()
    return commands


def run_member(consumer, count):
    """Delivers at most `count` records, then only keeps its membership, until told to stop."""
    commands, position, delivered, said = stdin_commands(), {}, 0, None
    while True:
        assigned = sorted(consumer.assignment())
        if assigned != said:
            say(assigned=assigned)
            said = assigned
        room = count - delivered
        for record in consumer.poll(room) if room else consumer.idle():
            say(record=record.as_json())
            position[record.partition] = record.offset + 1
            delivered += 1
        if room and delivered == count:
            say(reached=delivered)
        flush()
        try:
            command = commands.get_nowait()
        except queue.Empty:
            continue
        if command == "commit":
            consumer.commit(position)
            say(committed=position)
            flush()
        elif command == "stop":
            consumer.close()
            say(stopped=delivered)
            flush()
            return


def run_times(client, topic, timestamps):
    for timestamp in timestamps:
        for partition, offset in sorted(client.offsets_for_time(topic, timestamp).items()):
            read = client.read_at(topic, partition, offset).as_json() if offset >= 0 else None
            say(timestamp=timestamp, partition=partition, offset=offset, read=read)
    client.close()


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["version", "create", "produce", "member", "times"])
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--topic", default="")
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--codec", default="none")
    parser.add_argument("--idempotent", action="store_true")
    parser.add_argument("--group", default="")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--timestamps", default="")
    parser.add_argument("--protocol", default="classic")
    return parser.parse_args()


def main(client_class, version):
    args = arguments()
    if args.verb == "version":
        say(version=version)
        return
    client = client_class(args.bootstrap)
    if args.verb == "create":
        client.create(args.topic, args.partitions)
        say(created=args.topic)
    elif args.verb == "produce":
        records = [Record.from_line(line) for line in sys.stdin]
        say(produced=client.produce(args.topic, args.codec, args.idempotent, records))
    elif args.verb == "member" and args.protocol != "classic":
        run_member(client.member(args.topic, args.group, args.protocol), args.count)
    elif args.verb == "member":
        run_member(client.member(args.topic, args.group), args.count)
    else:
        run_times(client, args.topic, [int(t) for t in args.timestamps.split(",")])
    flush()
