"""What three bridges in a row add: the same messages, timed at either end of the chain.

mosquitto's bridges are its own, each taking from the one before. A server without a chain here is left out.
"""

import time
from contextlib import ExitStack

from .mqtt_servers import Mosquitto
from .swarm import Swarm

HOPS = 3
RATE = 100
SECONDS = {True: 5, False: 10}
PAYLOAD_BYTES = 512
# Until the last message has gone down the chain.
SETTLE_S = 1.0
LINKED_TIMEOUT_S = 20


def once(choice, fleet, name, results):
    if name not in CHAINS:
        return
    with ExitStack() as stack:
        first, last = CHAINS[name](fleet, stack)
        near = swarm(stack, fleet, first, 1)
        far = swarm(stack, fleet, last, 2)
        linked(near, far)
        far.ask("clear")
        at_first = near.publish(RATE, SECONDS[choice.quick], PAYLOAD_BYTES)
        time.sleep(SETTLE_S)
        at_last = far.ask("report", RATE * SECONDS[choice.quick])
    results.add("fanout-hops", name, load=f"{HOPS} hops", p50_ms_first=at_first["p50_ms"], p99_ms_first=at_first["p99_ms"], p50_ms_last=at_last["p50_ms"],
                p99_ms_last=at_last["p99_ms"], added_p99_ms=at_last["p99_ms"] - at_first["p99_ms"], lost_percent=at_last["lost_percent"])


def swarm(stack, fleet, server, number):
    made = Swarm(fleet, server, 1, number=number)
    stack.callback(made.stop)
    return made


def linked(near, far):
    """Until a message goes all the way."""
    deadline = time.monotonic() + LINKED_TIMEOUT_S
    while time.monotonic() < deadline:
        near.publish(RATE, 1, PAYLOAD_BYTES)
        if far.ask("report", 1)["deliveries"]:
            return
    raise RuntimeError("no message comes through the chain")


def mosquittos(fleet, stack):
    upstream, addresses = None, []
    for _ in range(HOPS + 1):
        server = Mosquitto(fleet, upstream).start()
        stack.callback(fleet.drop, server)
        upstream = server.tcp
        addresses.append(server.tcp)
    return addresses[0], addresses[-1]


CHAINS = {"mosquitto": mosquittos}
