"""Tap over HTTP to another page's WebSocket with early rows: what a viewer waits for after somebody else's tap. Tifo only."""

from .drive import load
from .mqtt_servers import Tifo

EARLY = """
[[stream]]
name = "emoji"
[stream.aggregate]
name = "emoji"
from = "emoji"
into = "emoji-counts"
time = { field = "timestamp" }
window = { tumble = "2s" }
group_by = ["channel_id", "metadata.reaction"]
measure = { count = "count()" }
early = "100ms"
grace = "500ms"
idle_close = "1s"
max_future = "5s"
"""


def once(choice, fleet, _name, results):
    server = Tifo(fleet, EARLY).start()
    try:
        got = load([fleet.tools.tap_load, "--http", server.http, "--websocket", server.websocket, "--rate", choice.rate,
                    "--seconds", choice.tap_seconds, "--ack", "committed", "--server-pid", server.pid])
    finally:
        fleet.drop(server)
    waits = {f"{key}_ms": got["tap_to_mqtt_ms"][key] for key in ("p50", "p99", "max") if got["tap_to_mqtt_ms"][key] is not None}
    results.add("fanout-early", "tifo", load=f"{choice.rate:,} taps/s, ack=committed", cpu_s_per_million=got["cpu_seconds_per_million"], **waits)
    if got["refused"] or got["delivered_total"] != got["accepted"] or got["probes_seen"] != got["probes_sent"]:
        keys = ("accepted", "refused", "delivered_total", "probes_sent", "probes_seen")
        results.fail("fanout-early", "tifo", "not every tap came back: " + ", ".join(f"{key} {got[key]}" for key in keys))
