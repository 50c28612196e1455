"""A second pair of eyes: what the broker says of a group and a topic, asked by a client that took no part."""
import time

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from suite.process import Deadline

ASK_S = 15
AGAIN_S = 0.05


class Observer:
    def __init__(self, bootstrap):
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def committed(self, group, topic, partitions):
        """{partition: committed offset, None without one}"""
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, p) for p in range(partitions)])
        answer = self._admin.list_consumer_group_offsets([asked], request_timeout=ASK_S)[group].result(ASK_S)
        for tp in answer.topic_partitions:
            assert tp.error is None, tp.error
        return {tp.partition: tp.offset if tp.offset >= 0 else None for tp in answer.topic_partitions}

    def partitions(self, topic):
        """How many partitions the topic has, once every one has a leader."""
        deadline = Deadline(ASK_S)
        while True:
            found = self._admin.list_topics(topic, timeout=ASK_S).topics[topic]
            if found.error is None and found.partitions and all(p.leader >= 0 for p in found.partitions.values()):
                return len(found.partitions)
            assert not deadline.passed(), f"{topic}: {found.error}, {found.partitions}"
            time.sleep(AGAIN_S)

    def close(self):
        self._admin = None
