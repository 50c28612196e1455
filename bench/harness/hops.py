"""What three bridges in a row add: the same messages, timed at either end of the chain.

mosquitto's bridges are its own, each taking from the one before, and a publisher sends a hundred messages a second. In Tifo the main node, a bridge, a publish
node and a subscribe node are processes of their own, and what travels are the windows of taps, told early. A server without a chain here is left out.
"""

import time
from contextlib import ExitStack

from .drive import load
from .early import EARLY
from .mqtt_servers import Mosquitto, Tifo, TifoNode
from .swarm import Swarm

HOPS = 3
RATE = 100
SECONDS = {True: 5, False: 10}
PAYLOAD_BYTES = 512
# 50 channels, told ten times a second.
TAPS_PER_S = 2_000
# Until the last message has gone down the chain.
SETTLE_S = 1.0
LINKED_TIMEOUT_S = 20
RETRY_S = 0.5


def once(choice, fleet, name, results):
    if name in CHAINS:
        with ExitStack() as stack:
            pairs, sent = CHAINS[name](choice, fleet, stack)
        added = sorted((last - first) / 1e6 for first, last in pairs)
        results.add("fanout-hops", name, load=f"{HOPS} hops", messages=len(added), added_p50_ms=quantile(added, 0.5), added_p99_ms=quantile(added, 0.99),
                    lost_percent=100 * (sent - len(added)) / max(sent, 1))


def quantile(values, q):
    return values[int((len(values) - 1) * q)]


def mosquittos(choice, fleet, stack):
    upstream, addresses = None, []
    for _ in range(HOPS + 1):
        server = Mosquitto(fleet, upstream).start()
        stack.callback(fleet.drop, server)
        upstream = server.tcp
        addresses.append(server.tcp)
    near, far = watcher(stack, fleet, addresses[0], 1), watcher(stack, fleet, addresses[-1], 2)
    return compared(near, far, lambda: near.publish(RATE, 1, PAYLOAD_BYTES), lambda: near.publish(RATE, SECONDS[choice.quick], PAYLOAD_BYTES))


def tifos(choice, fleet, stack):
    main = Tifo(fleet, EARLY.format(grace=50)).start()
    stack.callback(fleet.drop, main)
    publish = node(stack, fleet, "publish")
    node(stack, fleet, "bridge", "--upstream", main.tcp, "--downstream", f"mqtt://{publish.tcp}")
    subscribe = node(stack, fleet, "subscribe", "--upstream", publish.tcp)
    near, far = watcher(stack, fleet, main.tcp, 1, "streams/emoji/#"), watcher(stack, fleet, subscribe.tcp, 2, "streams/emoji/#")

    def taps(seconds):
        load([fleet.tools.tap_load, "--http", main.http, "--mqtt", main.tcp, "--rate", TAPS_PER_S, "--seconds", seconds, "--ack", "committed"])

    return compared(near, far, lambda: taps(1), lambda: taps(SECONDS[choice.quick]))


def node(stack, fleet, role, *arguments):
    server = TifoNode(fleet, role, arguments).start()
    stack.callback(fleet.drop, server)
    return server


def watcher(stack, fleet, server, number, topic=None):
    made = Swarm(fleet, server, 1, number=number, topic=topic, keep=True)
    stack.callback(made.stop)
    return made


def compared(near, far, try_out, act):
    """When each message came at the first and at the last node, once the chain is linked; and how many came at the first."""
    deadline = time.monotonic() + LINKED_TIMEOUT_S
    while not far.ask("arrivals")["arrivals"]:
        if time.monotonic() > deadline:
            raise RuntimeError("no message comes through the chain")
        try_out()
        time.sleep(RETRY_S)
    near.ask("arrivals"), far.ask("arrivals")
    act()
    time.sleep(SETTLE_S)
    first, last = (dict(map(tuple, swarm.ask("arrivals")["arrivals"])) for swarm in (near, far))
    if not first.keys() & last.keys():
        raise RuntimeError("no message was seen at both ends")
    return [(first[mark], last[mark]) for mark in first.keys() & last.keys()], len(first)


CHAINS = {"mosquitto": mosquittos, "tifo": tifos}
