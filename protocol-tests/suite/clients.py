"""The table of stock clients. A new client is a line here (README.md tells the rest)."""
import sys

from suite.helpers import HelperClient
from suite.java_clients import JavaClient
from suite.java_tools import JavaToolsClient
from suite.kcat import KcatClient

# Every codec, 10,000 records each, and kill -9.
NAMES = ["kcat", "kafka-python", "aiokafka", "confluent-kafka", "franz-go", "kafka-go", "kafkajs", "java tools"]
# The same features in fewer records: old versions, and libraries whose kin are above.
OTHERS = ["kafka-clients 2.8", "kafka-clients 3.9", "kafka-clients 4.3", "librdkafka 1.9", "sarama 1.29", "sarama",
          "kafka-python 2.0"]
ALL = [*NAMES, *OTHERS]
OLD_SARAMA = ("commits only with `Consumer.Offsets.Retention` set, as it is here; without, it asks by OffsetCommit 1, which "
              "Apache Kafka 4 no longer has, nor has Tifo")


def make(name, places, tool_server):
    """`places` says where helpers and builds lie; `tool_server` starts a JVM on first use."""
    def python(file, venv=None):
        return [places.cache / venv / "bin" / "python" if venv else sys.executable, places.helpers / "python" / file]

    def no_idempotence(client, command):
        return HelperClient(name, command, {"idempotent": f"{client} has no idempotent producer"})

    def kafka_clients():
        return JavaClient(name, tool_server(name.removeprefix("kafka-clients ")))

    makers = {
        "kcat": KcatClient,
        "kafka-python": lambda: HelperClient(name, python("kafka_python_client.py")),
        "aiokafka": lambda: HelperClient(name, python("aiokafka_client.py")),
        "confluent-kafka": lambda: HelperClient(name, python("confluent_kafka_client.py")),
        "franz-go": lambda: HelperClient(name, [places.bin / "franzgo"]),
        "kafka-go": lambda: no_idempotence("the client", [places.bin / "kafkago"]),
        "kafkajs": lambda: HelperClient(name, ["node", places.node / "kafkajs.js"]),
        "java tools": lambda: JavaToolsClient(tool_server()),
        "kafka-clients 2.8": kafka_clients,
        "kafka-clients 3.9": kafka_clients,
        "kafka-clients 4.3": kafka_clients,
        "librdkafka 1.9": lambda: HelperClient(name, [places.bin / "librdkafka"]),
        "sarama 1.29": lambda: HelperClient(name, [places.bin / "sarama-1.29"], remark=OLD_SARAMA),
        "sarama": lambda: HelperClient(name, [places.bin / "sarama"]),
        "kafka-python 2.0": lambda: no_idempotence("this version", python("kafka_python_2_0_client.py", "venv-kafka-python-2.0")),
    }
    return makers[name]()
