"""A crowd larger than one process may hold: a main node and several subscribe nodes that follow it, each with its own subscribers, and the memory of each over minutes.

It must stay below 20,000 open files in every process, and below the ports of one source address.
"""

import time
from contextlib import ExitStack

from .fanout import PAYLOAD_BYTES
from .mqtt_servers import Tifo, TifoNode
from .process import rss_bytes
from .swarm import Meter, Swarm

PER_NODE = 18_000
SAMPLE_S = 15
SETTLE_S = 1.0


def measure(choice, fleet, results):
    try:
        hold(choice, fleet, results)
    except RuntimeError as error:
        results.fail("crowd", "tifo", str(error))


class Node:
    """One subscribe node and its share of the crowd."""

    def __init__(self, stack, fleet, main, number, connections):
        self.connections = connections
        self.server = TifoNode(fleet, "subscribe", ("--upstream", main.tcp)).start()
        stack.callback(fleet.drop, self.server)
        time.sleep(SETTLE_S)
        before, meter = self.memory(), Meter(self.server.pid)
        self.swarm = Swarm(fleet, self.server.tcp, connections, number=number)
        stack.callback(self.swarm.stop)
        self.greeting_us = meter.used() / connections * 1e6
        time.sleep(SETTLE_S)
        self.base = self.memory()
        self.bytes_each = (self.base - before) / connections

    def memory(self):
        return rss_bytes(self.server.pid)

    def round(self):
        """One message to all of the node, so that every connection is known to live."""
        got = self.swarm.publish(1, 1, PAYLOAD_BYTES)
        if got["closed"] or got["deliveries"] != self.connections:
            raise RuntimeError(f"{got['closed']} closed, {got['deliveries']} of {self.connections} deliveries")
        return got


def hold(choice, fleet, results):
    with ExitStack() as stack:
        sizes = shares(choice.crowd)
        main = Tifo(fleet).start()
        stack.callback(fleet.drop, main)
        nodes = [Node(stack, fleet, main, number, connections) for number, connections in enumerate(sizes)]
        for node in nodes:
            node.round()  # what the first message to everybody allocates belongs to the base
            node.base = node.memory()
        late, highest = watch(nodes, choice.crowd_minutes * 60)
        for node, most in zip(nodes, highest, strict=True):
            results.add("crowd", "tifo", load=f"{choice.crowd:,} over {len(nodes)} nodes, {choice.crowd_minutes} min", bytes_each=node.bytes_each,
                        cpu_us_each=node.greeting_us, node_mib=node.base / 2**20, highest_mib=most / 2**20, node_mib_at_the_end=node.memory() / 2**20,
                        slowest_p99_ms=late)


def shares(total):
    nodes = -(-total // PER_NODE)
    return [total // nodes + (index < total % nodes) for index in range(nodes)]


def watch(nodes, seconds):
    """A message to every node in turn; the slowest p99, and the highest memory of each."""
    end, late, highest = time.monotonic() + seconds, 0.0, [node.base for node in nodes]
    while time.monotonic() < end:
        began = time.monotonic()
        for index, node in enumerate(nodes):
            late = max(late, node.round()["p99_ms"])
            highest[index] = max(highest[index], node.memory())
        time.sleep(max(0, began + SAMPLE_S - time.monotonic()))
    return late, highest
