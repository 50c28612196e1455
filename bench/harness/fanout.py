"""One message to a crowd: memory and CPU of idle subscribers, CPU and time of deliveries, what stalled subscribers cost the others.

Servers take turns; each load has a server of its own, so that none pays for the one before. The load is bench/mqtt-load on the other core.
"""

import subprocess
import time

from . import early, fanout_goals, hops
from .mqtt_servers import KINDS
from .process import rss_bytes
from .swarm import Meter, Swarm

PAYLOAD_BYTES = 512
RATE = 10
SECONDS = {True: 4, False: 8}
SINGLE_RATE = 1
SINGLE_SECONDS = {True: 5, False: 10}
# Stalled subscribers: 20 messages of 2 KiB a second are 800 KB each, more than any server may keep for one; less than the 30 s until Tifo closes it.
STALLED_OF = 1_000
STALLED = 10
STALLED_RATE = 20
STALLED_BYTES = 2_048
STALLED_SECONDS = {True: 8, False: 20}
SETTLE_S = 1.0


def measure(choice, fleet, results):
    names = choice.mqtt_servers
    for _ in range(choice.runs):
        for name in names:
            for act in (crowds, websockets, stalled):
                attempt(results, name, act, choice, fleet)
        for name in names:
            attempt(results, name, hops.once, choice, fleet)
        if "tifo" in names:
            attempt(results, "tifo", early.once, choice, fleet)
    fanout_goals.judge(choice, results)


def attempt(results, name, act, choice, fleet):
    try:
        act(choice, fleet, name, results)
    except RuntimeError as error:
        results.fail("fanout", f"{name}, {act.__module__.rsplit('.', 1)[-1]}.{act.__name__}", str(error))


class Serving:
    """A server and its crowd for the length of one load: started, counted, stopped."""

    def __init__(self, fleet, name, connections, port="tcp", **options):
        self.server = fleet_server(fleet, name)
        self.server.start()
        try:
            self.gather(fleet, connections, port, options)
        except Exception:
            fleet.drop(self.server)
            raise
        self.fleet = fleet

    def gather(self, fleet, connections, port, options):
        time.sleep(SETTLE_S)
        memory, meter = rss_bytes(self.server.pid), Meter(self.server.pid)
        address = getattr(self.server, port)
        self.swarm = Swarm(fleet, address, connections, publish_to=self.server.tcp, websocket=port != "tcp", **options)
        self.greeting_us = meter.used() / connections * 1e6
        time.sleep(SETTLE_S)
        self.bytes_each = (rss_bytes(self.server.pid) - memory) / connections

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.swarm.stop()
        self.fleet.drop(self.server)

    def publish(self, rate, seconds, payload_bytes):
        meter = Meter(self.server.pid)
        got = self.swarm.publish(rate, seconds, payload_bytes)
        if "error" in got:
            raise RuntimeError(got["error"])
        return got, meter.used()


def fleet_server(fleet, name):
    return KINDS[name](fleet)


def crowds(choice, fleet, name, results):
    for subscribers in choice.subscribers:
        with Serving(fleet, name, subscribers) as serving:
            results.add("fanout-idle", name, load=f"{subscribers:,} over TCP", bytes_each=serving.bytes_each, cpu_us_each=serving.greeting_us)
            got, cpu = serving.publish(RATE, SECONDS[choice.quick], PAYLOAD_BYTES)
            results.add("fanout-load", name, load=f"{subscribers:,} x {RATE}/s", cpu_s_per_million=cpu / max(got["deliveries"], 1) * 1e6, **times(got))
            if subscribers == max(choice.subscribers):
                got, _ = serving.publish(SINGLE_RATE, SINGLE_SECONDS[choice.quick], PAYLOAD_BYTES)
                results.add("fanout-single", name, load=f"one to {subscribers:,}", **times(got))


def websockets(choice, fleet, name, results):
    if KINDS[name].__dict__.get("websocket", True) is None:
        return
    websocket(choice, fleet, name, results, "websocket", max(choice.subscribers), "over WebSocket")
    if name == "tifo":
        websocket(choice, fleet, name, results, "http", max(choice.subscribers), "over WebSocket on the HTTP port")


def websocket(choice, fleet, name, results, port, subscribers, label):
    with Serving(fleet, name, subscribers, port=port) as serving:
        results.add("fanout-idle", name, load=f"{subscribers:,} {label}", bytes_each=serving.bytes_each, cpu_us_each=serving.greeting_us)
        got, cpu = serving.publish(SINGLE_RATE, SINGLE_SECONDS[choice.quick], PAYLOAD_BYTES)
        results.add("fanout-load", name, load=f"{subscribers:,} x {SINGLE_RATE}/s {label}",
                    cpu_s_per_million=cpu / max(got["deliveries"], 1) * 1e6, **times(got))


def stalled(choice, fleet, name, results):
    """The others' p99 with one in a hundred stalled, against none; and what one costs, in the process and in the kernel's buffers."""
    with Serving(fleet, name, STALLED_OF, stalled=STALLED) as serving:
        serving.publish(STALLED_RATE, 2, STALLED_BYTES)
        calm, _ = serving.publish(STALLED_RATE, STALLED_SECONDS[choice.quick], STALLED_BYTES)
        memory, kernel = rss_bytes(serving.server.pid), kernel_bytes(serving.server.tcp)
        serving.swarm.ask("stall")
        got, _ = serving.publish(STALLED_RATE, STALLED_SECONDS[choice.quick], STALLED_BYTES)
        process = (rss_bytes(serving.server.pid) - memory) / STALLED
        results.add("fanout-stalled", name, load=f"{STALLED} of {STALLED_OF:,} x {STALLED_RATE}/s, {STALLED_BYTES} B", p99_ms_without=calm["p99_ms"],
                    p99_ms_with=got["p99_ms"], lost_percent=got["lost_percent"], process_kib_each=process / 1024,
                    kernel_kib_each=(kernel_bytes(serving.server.tcp) - kernel) / STALLED / 1024)


def times(got):
    return {key: got[key] for key in ("p50_ms", "p99_ms", "late_percent", "lost_percent") if got[key] is not None}


def kernel_bytes(address):
    """What the kernel holds in the buffers of a server's connections (receive queue, send queue, reserved), after sock_diag's skmem."""
    port = address.rsplit(":", 1)[1]
    done = subprocess.run(["ss", "-tmnH", "sport", "=", f":{port}"], capture_output=True, text=True, check=True)
    total = 0
    for part in done.stdout.split("skmem:(")[1:]:
        fields = {field.rstrip("0123456789"): int(field.lstrip("abcdefghijklmnopqrstuvwxyz")) for field in part.split(")")[0].split(",")}
        total += fields["r"] + fields["w"] + fields["f"]
    return total
