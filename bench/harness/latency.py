"""Produce-to-consume latency of single records at 1,000/s, acks=all, linger.ms=0, one partition."""

from .drive import Topic, in_turn, warm_kafka

RATE = 1000
SECONDS = 6  # the first is warm-up


def measure(choice, fleet, results):
    names = [name for name in choice.servers if name != "floor"]
    with warm_kafka(fleet, names, lambda kafka: once(fleet, kafka, "warm", None)) as kafka:
        for number in range(choice.runs):
            in_turn(fleet, names, kafka, "latency", results, lambda server: once(fleet, server, f"latency-{number}", results))


def once(fleet, server, name, results):
    topic = Topic(fleet, server, name, 1)
    got = topic.run("latency", "-r", RATE, "-d", SECONDS)
    topic.delete()
    if results:
        results.add("latency", server.name, **{key: got[key] for key in ("p50_ms", "p99_ms", "p999_ms", "cpu_seconds")})
