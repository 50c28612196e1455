"""Tap over HTTP to another page's WebSocket with early rows: what a viewer waits for after somebody else's tap. Tifo only.

Only the next window to be closed is told early, so a tap at the beginning of a window waits for the one before: its grace is in the figure. Both the default
and one for taps that come at once are measured.
"""

from .drive import load
from .mqtt_servers import Tifo

GRACE_MS = (50, 500)
EARLY = """
[[stream]]
name = "emoji"
top_n = 10
[stream.ingest]
topic = "emoji"
timestamp = "timestamp"
key = ["channel_id", "user_id"]
[stream.aggregate]
name = "emoji"
from = "emoji"
into = "emoji-counts"
time = {{ field = "timestamp" }}
window = {{ tumble = "2s" }}
group_by = ["channel_id", "metadata.reaction"]
measure = {{ count = "count()" }}
early = "100ms"
grace = "{grace}ms"
"""


def once(choice, fleet, _name, results):
    for grace in GRACE_MS[:1] if choice.quick else GRACE_MS:
        server = Tifo(fleet, EARLY.format(grace=grace)).start()
        try:
            got = load([fleet.tools.tap_load, "--http", server.http, "--websocket", server.http, "--rate", choice.rate,
                        "--seconds", choice.tap_seconds, "--ack", "committed", "--server-pid", server.pid])
        finally:
            fleet.drop(server)
        keep(choice, results, grace, got)


def keep(choice, results, grace, got):
    waits = {f"{key}_ms": got["tap_to_mqtt_ms"][key] for key in ("p50", "p99", "max") if got["tap_to_mqtt_ms"][key] is not None}
    label = f"{choice.rate:,} taps/s, ack=committed, grace {grace} ms"
    results.add("fanout-early", "tifo", load=label, cpu_s_per_million=got["cpu_seconds_per_million"], **waits)
    if got["refused"] or got["delivered_total"] != got["accepted"] or got["probes_seen"] != got["probes_sent"]:
        keys = ("accepted", "refused", "delivered_total", "probes_sent", "probes_seen")
        results.fail("fanout-early", label, "not every tap came back: " + ", ".join(f"{key} {got[key]}" for key in keys))
