"""Command line of bench/run."""

import argparse

SERVERS = ["tifo", "kafka", "kfake", "floor"]
MQTT_SERVERS = ["tifo", "mosquitto", "rumqttd", "floor"]
# Long, or more than a small machine bears: only when named.
ON_DEMAND = ("crowd",)


def parse(parts):
    p = argparse.ArgumentParser(prog="bench/run", description="Measures Tifo beside Apache Kafka, kfake, mosquitto, rumqttd and floors, in turn, in one run.")
    p.add_argument("--quick", action="store_true", help="some minutes: fewer bytes, one partition, one short tap run")
    p.add_argument("--rounds", "--runs", dest="runs", type=int, help="rounds; medians are taken over them (5)")
    p.add_argument("--only", type=csv, default=[name for name in parts if name not in ON_DEMAND], metavar="PART,…", help=f"of {', '.join(parts)}")
    p.add_argument("--servers", type=csv, default=[*SERVERS, *MQTT_SERVERS], metavar="NAME,…", help=f"of {', '.join(dict.fromkeys(SERVERS + MQTT_SERVERS))}")
    p.add_argument("--sizes", type=csv_int, metavar="BYTES,…", help="record sizes (1024,100)")
    p.add_argument("--partitions", type=csv_int, metavar="N,…", help="(1,6)")
    p.add_argument("--megabytes", type=int, help="payload per produce and per fetch, in 1e6 bytes; of records below 512 bytes two fifths (500)")
    p.add_argument("--codecs", type=csv, metavar="NAME,…", help="of none, gzip, snappy, lz4, zstd; anything but none takes a text payload (none,lz4)")
    p.add_argument("--restart-megabytes", type=int, help="what a log holds that is started again (1000)")
    p.add_argument("--rate", type=int, default=10_000, help="taps per second (10000)")
    p.add_argument("--tap-seconds", type=int, help="steady time of one tap run (20)")
    p.add_argument("--ack", type=csv, metavar="MODE,…", help="of buffered, committed (both)")
    p.add_argument("--count", type=int, help="partitions of the part `partitions` (10000)")
    p.add_argument("--kafka-count", type=int, help="the same for the rivals: Apache Kafka takes minutes, kfake runs out of files (1000)")
    p.add_argument("--subscribers", type=csv_int, metavar="N,…", help="crowds of the part `fanout` (1000,10000)")
    p.add_argument("--crowd", type=int, default=250_000, help="connections of the part `crowd` (250000)")
    p.add_argument("--crowd-minutes", type=int, default=10, help="how long they are held (10)")
    p.add_argument("--tifo", metavar="FILE", help="measure this binary instead of building one")
    choice = p.parse_args()
    for name, value in (QUICK if choice.quick else FULL).items():
        if getattr(choice, name) is None:
            setattr(choice, name, value)
    check(p, choice.only, parts)
    check(p, choice.servers, SERVERS + MQTT_SERVERS)
    choice.mqtt_servers = [name for name in MQTT_SERVERS if name in choice.servers]
    choice.servers = [name for name in SERVERS if name in choice.servers]
    check(p, choice.ack, ["buffered", "committed"])
    if choice.quick and choice.only == [name for name in parts if name not in ON_DEMAND]:
        choice.only = [name for name in choice.only if name not in LEFT_OUT_WHEN_QUICK]
    return choice


FULL = {"runs": 5, "sizes": [1024, 100], "partitions": [1, 6], "codecs": ["none", "lz4"], "megabytes": 500, "restart_megabytes": 1000,
        "tap_seconds": 20, "ack": ["buffered", "committed"], "count": 10_000, "kafka_count": 1000,
        "subscribers": [1000, 10_000]}
QUICK = {"runs": 3, "sizes": [1024], "partitions": [1], "codecs": ["none"], "megabytes": 200, "restart_megabytes": 200,
         "tap_seconds": 10, "ack": ["buffered"], "count": 2000, "kafka_count": 200,
         "subscribers": [1000, 10_000]}
LEFT_OUT_WHEN_QUICK = ("latency", "durability", "partitions", "aggregate")


def check(parser, given, known):
    unknown = [name for name in given if name not in known]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)} (of {', '.join(known)})")


def csv(text):
    return text.split(",")


def csv_int(text):
    return [int(part) for part in text.split(",")]
