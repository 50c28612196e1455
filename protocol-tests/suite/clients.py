"""The table of stock clients. A new client is a line here (README.md tells the rest)."""
import sys

from suite.helpers import HelperClient
from suite.java_tools import JavaToolsClient
from suite.kcat import KcatClient

NAMES = ["kcat", "kafka-python", "aiokafka", "confluent-kafka", "franz-go", "kafka-go", "kafkajs", "java tools"]


def make(name, places, tool_server):
    """`places` says where helpers and builds lie; `tool_server` starts the JVM on first use."""
    def python(file):
        return [sys.executable, places.helpers / "python" / file]

    makers = {
        "kcat": KcatClient,
        "kafka-python": lambda: HelperClient(name, python("kafka_python_client.py")),
        "aiokafka": lambda: HelperClient(name, python("aiokafka_client.py")),
        "confluent-kafka": lambda: HelperClient(name, python("confluent_kafka_client.py")),
        "franz-go": lambda: HelperClient(name, [places.bin / "franzgo"]),
        "kafka-go": lambda: HelperClient(name, [places.bin / "kafkago"], {"idempotent": "the client has no idempotent producer"}),
        "kafkajs": lambda: HelperClient(name, ["node", places.node / "kafkajs.js"]),
        "java tools": lambda: JavaToolsClient(tool_server()),
    }
    return makers[name]()
