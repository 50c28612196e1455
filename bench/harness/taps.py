"""Tap-to-MQTT latency of the whole pipeline under a steady load, CPU per million taps, memory. Tifo only: no rival does the whole job."""

from .drive import load
from .process import rss_mib


def measure(choice, fleet, results):
    for _ in range(1 if choice.quick else choice.runs):
        for ack in choice.ack:
            server = fleet.make("tifo", ()).start()
            try:
                once(choice, fleet, server, ack, results)
            except RuntimeError as error:
                results.fail("taps", f"tifo, ack={ack}", str(error))
            fleet.drop(server)


def once(choice, fleet, server, ack, results):
    ready = server.process.ready
    idle = rss_mib(server.pid)
    got = load([
        fleet.tools.tap_load, "--http", ready["http"], "--mqtt", ready["mqtt"], "--rate", choice.rate, "--seconds", choice.tap_seconds,
        "--ack", ack, "--server-pid", server.pid,
    ])
    label = f"tifo, ack={ack}"
    results.add(
        "taps", label, rate=got["rate"], cpu_s_per_million=got["cpu_seconds_per_million"], idle_mib=idle, after_mib=rss_mib(server.pid),
        **spread("tap_to_mqtt", got["tap_to_mqtt_ms"]), **spread("window_end_to_mqtt", got["window_end_to_mqtt_ms"]), **spread("post", got["post_ms"]),
    )
    if got["refused"] or got["delivered_total"] != got["accepted"] or got["probes_seen"] != got["probes_sent"]:
        keys = ("accepted", "refused", "delivered_total", "probes_sent", "probes_seen")
        results.fail("taps", label, "not every tap came back: " + ", ".join(f"{key} {got[key]}" for key in keys))


def spread(name, quantiles):
    return {f"{name}_{key}_ms": quantiles[key] for key in ("p50", "p99", "max") if quantiles[key] is not None}
