"""Produce and fetch by librdkafka: CPU seconds of the server per GB (1e9 payload bytes), rate, memory afterwards.

A B C D, A B C D, …: in each round every server gets the same bytes. Tifo, kfake and the floor are started afresh each time; Apache Kafka is
started once and warmed up, because a JVM is at its best only then.
"""

from collections import namedtuple
from itertools import product

from .drive import Topic, in_turn, load, warm_kafka
from .process import rss_mib

Cell = namedtuple("Cell", "size partitions codec")
SMALL_RECORD, SMALL_SHARE = 512, 0.4  # the load generator needs five times as long for the bytes of small records
DEFAULT_FRAME = 1_000_000
MAX_FRAME = 8 << 20
WARM_UP_ROUNDS = {True: 2, False: 3}


def measure(choice, fleet, results):
    cells = [Cell(*values) for values in product(choice.sizes, choice.partitions, choice.codecs)]
    brokers = [name for name in choice.servers if name != "floor"]
    with warm_kafka(fleet, brokers, lambda kafka: warm_up(choice, fleet, kafka, cells)) as kafka:
        for number in range(choice.runs):
            for cell in cells:
                wire = {}
                in_turn(fleet, brokers, kafka, "log", results, lambda server: broker(choice, fleet, server, cell, results, f"bench-{number}", wire))
                if "floor" in choice.servers:
                    in_turn(fleet, ["floor"], None, "log", results, lambda server: floor(choice, fleet, server, cell, results, wire))


def warm_up(choice, fleet, kafka, cells):
    for number in range(WARM_UP_ROUNDS[choice.quick]):
        cell = cells[number % len(cells)]
        topic = Topic(fleet, kafka, f"warm-{number}", cell.partitions)
        for mode in ("produce", "fetch"):
            topic.run(mode, *record_arguments(choice, cell))
        topic.delete()


def payload_bytes(choice, cell):
    return int(choice.megabytes * 1_000_000 * (SMALL_SHARE if cell.size < SMALL_RECORD else 1))


def record_arguments(choice, cell):
    text = [] if cell.codec == "none" else ["-T"]
    return ["-s", cell.size, "-n", payload_bytes(choice, cell), *text]


def broker(choice, fleet, server, cell, results, prefix, wire):
    topic = Topic(fleet, server, f"{prefix}-{cell.size}-{cell.partitions}-{cell.codec}", cell.partitions)
    codec = [] if cell.codec == "none" else ["-X", f"compression.codec={cell.codec}"]
    for mode, arguments, bytes_field in (("produce", codec, "tx_bytes"), ("fetch", [], "rx_bytes")):
        got = topic.run(mode, *record_arguments(choice, cell), *arguments)
        wire.setdefault(mode, (got[bytes_field] / got["payload_bytes"], got[bytes_field] / max(got["requests"], 1)))
        times = {key: got[key] for key in ("p50_ms", "p99_ms", "p999_ms")} if mode == "produce" else {}
        frame_kb = got[bytes_field] / max(got["requests"], 1) / 1000
        keep(results, mode, cell, server.name, got, got["payload_bytes"], frame_kb=frame_kb, **times)
    results.add("log-memory", server.name, **cell._asdict(), after_mib=rss_mib(server.pid))
    topic.delete()


def floor(choice, fleet, server, cell, results, wire):
    for mode in ("produce", "fetch"):
        per_payload, frame = wire.get(mode, (1.0, DEFAULT_FRAME))
        payload = payload_bytes(choice, cell)
        frame = max(4096, min(int(frame), MAX_FRAME))
        got = load([fleet.tools.floor_load, mode, server.port, server.pid, frame, int(payload * per_payload)])
        keep(results, mode, cell, "floor", got, payload, frame_kb=frame / 1000)


def keep(results, mode, cell, name, got, payload, **more):
    results.add(mode, name, **cell._asdict(), cpu_s_per_gb=got["cpu_seconds"] / payload * 1e9, mb_per_s=payload / got["seconds"] / 1e6, **more)
