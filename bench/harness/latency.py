"""Produce-to-consume latency of single records at 1,000/s, acks=all, linger.ms=0, one partition."""

from .drive import Topic

RATE = 1000
SECONDS = 6  # the first is warm-up


def measure(choice, fleet, results):
    names = [name for name in choice.servers if name != "floor"]
    kafka = fleet.make("kafka").start() if "kafka" in names else None
    if kafka:
        once(fleet, kafka, "warm", None)
    for number in range(choice.runs):
        for name in names:
            server = kafka if name == "kafka" else fleet.make(name).start()
            try:
                once(fleet, server, f"latency-{number}", results)
            except RuntimeError as error:
                results.fail("latency", name, str(error))
            if server is not kafka:
                fleet.drop(server)
    if kafka:
        fleet.drop(kafka)


def once(fleet, server, name, results):
    topic = Topic(fleet, server, name, 1)
    got = topic.run("latency", "-r", RATE, "-d", SECONDS)
    topic.delete()
    if results:
        results.add("latency", server.name, **{key: got[key] for key in ("p50_ms", "p99_ms", "p999_ms", "cpu_seconds")})
