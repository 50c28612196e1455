"""A crowd of MQTT subscribers: one or several mqtt-load processes, driven line by line.

Place: fanout.py, hops.py and crowd.py use it. It knows no server but its addresses.
It must never leave a process behind: each is known to Process.running.
"""

import json
import subprocess

from .process import Process, cpu_seconds

SUBSCRIBE_TIMEOUT_S = 320
ANSWER_TIMEOUT_S = 120


class Swarm:
    """One process of up to 19,000 subscribers."""

    def __init__(self, fleet, server, connections, websocket=False, stalled=0, number=0, publish_to=None, topic=None, keep=False):
        command = [fleet.tools.mqtt_load, "--server", server, "--connections", connections, "--stalled", stalled, "--number", number,
                   "--websocket", "yes" if websocket else "no", "--publish-to", publish_to or server, "--keep", "yes" if keep else "no", *(["--topic", topic] if topic else [])]
        self.process = Process(command, fleet.log("mqtt-load"), SUBSCRIBE_TIMEOUT_S, stdin=subprocess.PIPE)
        self.subscribed = self.process.ready["subscribed"]

    def ask(self, *command):
        self.process.child.stdin.write((" ".join(str(part) for part in command) + "\n").encode())
        self.process.child.stdin.flush()
        return json.loads(self.process.line(ANSWER_TIMEOUT_S) or '{"error": "mqtt-load did not answer"}')

    def publish(self, rate, seconds, payload_bytes):
        return self.ask("publish", rate, seconds, payload_bytes)

    def stop(self):
        self.process.stop()


class Meter:
    """CPU seconds of a server over a stretch of time."""

    def __init__(self, *pids):
        self.pids = pids
        self.before = self.cpu()

    def cpu(self):
        return sum(cpu_seconds(pid) for pid in self.pids)

    def used(self):
        return self.cpu() - self.before
