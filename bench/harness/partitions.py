"""Thousands of partitions: created and all used, restarted after a clean stop and after kill -9, memory.

Tifo runs under a limit of 4,096 open files. Apache Kafka needs some minutes for what Tifo does in a second, and kfake runs out of open
files, so they get a smaller count (`--kafka-count`), which the table says.

What a round leaves behind stays until all are over: ext4 without a journal does not give a file the inode of one that was deleted within the last five minutes,
and looks at each of those one by one. A round after the removal of the last one's files would measure that: 12 s instead of half a second.
"""

import os
import time

from . import wire
from .process import rss_mib
from .startup import ready_ms

TOPICS = 10
LIMITED = ["prlimit", "--nofile=4096:4096"]
VALUE = b"x" * 100


def measure(choice, fleet, results):
    used = []
    for _ in range(choice.runs):
        for name in (name for name in choice.servers if name in ("tifo", "kafka", "kfake")):
            server = fleet.make(name)
            used.append(server)
            server.prefix = LIMITED if name == "tifo" else []
            try:
                many(results, name, server, choice.count if name == "tifo" else choice.kafka_count)
            except (RuntimeError, OSError) as error:
                results.fail("partitions", name, str(error))
            server.stop()
    for server in used:
        fleet.drop(server)


def many(results, name, server, count):
    topics = {f"many-{number}": count // TOPICS for number in range(TOPICS)}
    count = sum(topics.values())
    server.start()
    with wire.Connection(server.address) as connection:
        created = timed(lambda: connection.create(topics))
        connection.await_leaders(topics)
        used = timed(lambda: use(connection, topics, 1))
    figures = {"create_s": created, "produce_fetch_s": used, "create_and_use_s": created + used, "memory_mib": rss_mib(server.pid)}
    figures["open_files"] = len(os.listdir(f"/proc/{server.pid}/fd"))
    figures["stop_s"] = timed(server.stop)
    figures["clean_restart_ms"] = ready_ms(server.start())
    with wire.Connection(server.address) as connection:
        use(connection, topics, 2)
    server.kill_9()
    figures["killed_restart_ms"] = ready_ms(server.start())
    with wire.Connection(server.address) as connection:
        connection.fetch(topics, 2)
    figures["memory_after_mib"] = rss_mib(server.pid)
    results.add("partitions", name, partitions=count, **figures)


def use(connection, topics, times):
    """One record more to every partition, and all of them read again."""
    batch = wire.one_record_batch(VALUE, int(time.time() * 1000))
    connection.produce(topics, batch)
    expect(connection.fetch(topics, times), sum(topics.values()) * len(batch) * times)


def timed(act):
    began = time.monotonic()
    act()
    return time.monotonic() - began


def expect(found, wanted):
    if found != wanted:
        raise RuntimeError(f"{found} instead of {wanted}")
