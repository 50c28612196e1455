"""What a durable acknowledgement costs: producers that each wait for their answer, with an fsync before it and without.

The disk's own fdatasync is timed in the same round. Two loads: as fast as answers come (the rate), and paced (the time of an answer where
neither side is short of a processor). Apache Kafka syncs by `flush.messages=1`; kfake has no such setting.
"""

from .drive import Topic, in_turn, load, warm_kafka

CLIENTS = 64
PARTITIONS = 1
RECORD_BYTES = 100
SECONDS = {True: 3, False: 5}
PACED_RATE = 1000
SYNCED = {"tifo": "tifo.durability=fsync", "kafka": "flush.messages=1"}


def measure(choice, fleet, results):
    names = [name for name in choice.servers if name in SYNCED]
    with warm_kafka(fleet, names, lambda kafka: once(choice, fleet, kafka, "warm", [], 0, None)) as kafka:
        for number in range(choice.runs):
            disk(fleet, results)
            in_turn(fleet, names, kafka, "durability", results, lambda server: loads(choice, fleet, server, number, results))


def disk(fleet, results):
    got = load([fleet.tools.disk_sync, fleet.work / "disk-sync"])
    results.add("durability", "the disk's fdatasync", load="4 KiB", **got)


def loads(choice, fleet, server, number, results):
    for label, config in (("page cache", []), ("fsync", ["-C", SYNCED[server.name]])):
        for rate in (0, PACED_RATE):
            once(choice, fleet, server, f"{label.replace(' ', '-')}-{rate}-{number}", config, rate, results, f"{server.name}, {label}")


def once(choice, fleet, server, name, config, rate, results, label=""):
    topic = Topic(fleet, server, name, PARTITIONS, config)
    arguments = ["-s", RECORD_BYTES, "-c", CLIENTS, "-d", SECONDS[choice.quick], *(["-r", rate] if rate else [])]
    got = load([fleet.tools.sync_load, *topic.base, "-P", server.pid, *arguments])
    topic.delete()
    if results:
        paced = f"{rate}/s" if rate else "closed loop"
        results.add("durability", label, load=paced, records_per_s=got["rate"], cpu_us_per_record=got["cpu_seconds"] / max(got["count"], 1) * 1e6,
                    **{key: got[key] for key in ("p50_ms", "p99_ms", "p999_ms")})
