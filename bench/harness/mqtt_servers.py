"""The servers that bring one message to a crowd: Tifo, mosquitto, plain rumqttd, and the floor.

Each has `start() -> self` with `pid`, `tcp` and `websocket` (addresses; None where it does not speak that), and `stop()`.
"""

import socket
import time

from .process import Process

READY_TIMEOUT_S = 10
RETRY_S = 0.02
# More than any part opens on one node, below the 20,000 open files that a process may have.
MAX_CONNECTIONS = 19_900


class Tifo:
    """One process with all roles: the public MQTT port, a WebSocket port of its own, and WebSocket on the HTTP port."""

    name = "tifo"

    def __init__(self, fleet, settings="", arguments=()):
        self.fleet, self.data, self.arguments = fleet, fleet.directory("tifo"), arguments
        self.config = self.data / "tifo.toml"
        (port,) = free_ports(1)
        self.websocket = f"127.0.0.1:{port}"
        self.config.write_text(settings + SETTINGS.format(f'websocket_listen = "{self.websocket}"'))

    def start(self):
        ports = [part for flag in ("--kafka", "--http", "--mqtt") for part in (flag, "127.0.0.1:0")]
        command = [self.fleet.tools.tifo, "serve", "--config", self.config, "--data-dir", self.data / "data", *ports, *self.arguments]
        self.process = Process(command, self.fleet.log("tifo"))
        ready = self.process.ready
        self.pid, self.tcp, self.http = self.process.pid, ready["mqtt"], ready.get("http")
        return self

    def stop(self):
        self.process.stop()


class TifoNode:
    """One node of the fan-out's tree, in a process of its own."""

    name = "tifo"

    def __init__(self, fleet, role, arguments):
        self.fleet, self.data, self.role, self.arguments = fleet, fleet.directory("tifo-node"), role, arguments
        (self.data / "tifo.toml").write_text(SETTINGS.format(""))

    def start(self):
        command = [self.fleet.tools.tifo, "serve", "--config", self.data / "tifo.toml", "--roles", "mqtt,http", "--mqtt-role", self.role,
                   "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", *self.arguments]
        self.process = Process(command, self.fleet.log(f"tifo-{self.role}"))
        self.pid, self.tcp, self.websocket = self.process.pid, self.process.ready["mqtt"], self.process.ready.get("http")
        return self

    def stop(self):
        self.process.stop()


SETTINGS = f"""
[http]
max_connections = {MAX_CONNECTIONS}
[mqtt]
{{}}
[mqtt.limits]
max_connections = {MAX_CONNECTIONS}
"""


class Mosquitto:
    """Debian's, with its stock settings; without Nagle's delay, as the others."""

    name = "mosquitto"

    def __init__(self, fleet, upstream=None):
        self.fleet, self.data = fleet, fleet.directory("mosquitto")
        ports = free_ports(2)
        self.tcp, self.websocket = (f"127.0.0.1:{port}" for port in ports)
        bridge = BRIDGE.format(upstream) if upstream else ""
        (self.data / "mosquitto.conf").write_text(MOSQUITTO.format(*ports) + bridge)

    def start(self):
        self.process = Process([self.fleet.tools.mosquitto, "-c", self.data / "mosquitto.conf"], self.fleet.log("mosquitto"), ready_timeout_s=None)
        self.pid = self.process.pid
        await_port(self.tcp)
        return self

    def stop(self):
        self.process.stop()


MOSQUITTO = """
user root
set_tcp_nodelay true
log_type error
allow_anonymous true
listener {} 127.0.0.1
listener {} 127.0.0.1
protocol websockets
"""
BRIDGE = """
connection up
address {}
topic # in 0
restart_timeout 1
"""


class Rumqttd:
    """rumqttd as a program, with the settings of its sample file."""

    name = "rumqttd"

    def __init__(self, fleet):
        self.fleet, self.data = fleet, fleet.directory("rumqttd")
        self.ports = free_ports(2)
        self.tcp, self.websocket = (f"127.0.0.1:{port}" for port in self.ports)

    def start(self):
        self.process = Process([self.fleet.tools.rumqttd, *self.ports, MAX_CONNECTIONS], self.fleet.log("rumqttd"), ready_timeout_s=None)
        self.pid = self.process.pid
        await_port(self.tcp)
        return self

    def stop(self):
        self.process.kill_9()  # it knows no signal


class Floor:
    """bench/floor/fanout.c."""

    name = "floor"
    websocket = None

    def __init__(self, fleet):
        self.fleet, self.data = fleet, fleet.directory("floor")

    def start(self):
        self.process = Process([self.fleet.tools.fanout], self.fleet.log("floor"))
        self.pid, self.tcp = self.process.pid, f"127.0.0.1:{self.process.ready['port']}"
        return self

    def stop(self):
        self.process.kill_9()


KINDS = {kind.name: kind for kind in (Tifo, Mosquitto, Rumqttd, Floor)}


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def await_port(address):
    host, port = address.split(":")
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            socket.create_connection((host, int(port))).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing listens on {address}") from None
            time.sleep(RETRY_S)
