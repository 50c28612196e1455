"""Admin calls through the admin clients of other languages: each call gives on Tifo what it gives on Apache Kafka."""
import json
import re
import sys

import pytest
from differential.conftest import side_by_side
from differential.test_tools import HIDDEN
from suite import process

CLIENTS = {
    "kafka-python": lambda places: [sys.executable, places.helpers / "python" / "kafka_python_admin.py"],
    "confluent-kafka": lambda places: [sys.executable, places.helpers / "python" / "confluent_kafka_admin.py"],
    "kadm": lambda places: [places.bin / "kadm"],
    "kafkajs": lambda places: ["node", places.node / "kafkajs_admin.js"],
}
# What is each broker's own: its volume's size, its features beyond those that both have, the address.
OWN_FIELDS = {"total_bytes", "usable_bytes", "log_dir", "cluster_id", "port", "topic_id", "throttle_time_ms"}


def told(client, places, target, topic, group):
    command = [*client(places), "--bootstrap", target.bootstrap, "--topic", topic, "--group", group]
    said = process.run([str(part) for part in command])
    return [normal(json.loads(line)) for line in said.splitlines()]


def normal(value, name=""):
    if isinstance(value, dict):
        return {key: normal(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [normal(item, name) for item in value]
    if name in OWN_FIELDS:
        return "own"
    if isinstance(value, str):
        for pattern, hidden in HIDDEN:
            value = re.sub(pattern, hidden, value)
    return value


@pytest.mark.parametrize("name", CLIENTS)
def test_admin_calls_give_what_they_give_on_kafka(name, twin, kafka, places):
    ours, theirs = side_by_side(lambda target: told(CLIENTS[name], places, target, f"admin-{name}", f"g-admin-{name}"), twin, kafka)
    assert len(theirs) > 10, theirs
    assert ours == theirs, "\n".join(f"tifo  {a}\nkafka {b}" for a, b in zip(ours, theirs) if a != b)
