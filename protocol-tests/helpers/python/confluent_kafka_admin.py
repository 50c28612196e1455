"""Admin calls through confluent-kafka (librdkafka): what each of them gave, or the error that it raised."""
from admin_contract import main, patiently
from confluent_kafka import ConsumerGroupTopicPartitions, ElectionType, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec,
                                   ResourceType)

TIMEOUT_S = 20
LOADING = {KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE}


def result(futures):
    """The one result of a call about one thing."""
    if not isinstance(futures, dict):
        return futures.result(TIMEOUT_S)
    return {str(name): future.result(TIMEOUT_S) for name, future in futures.items()}


def is_loading(error):
    return isinstance(error, KafkaException) and error.args[0].code() in LOADING


def topic_of(described):
    return {name: (topic.name, [(p.id, p.leader.id, [r.id for r in p.replicas], [r.id for r in p.isr]) for p in topic.partitions])
            for name, topic in described.items()}


def calls(bootstrap, topic, group):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    change = ConfigEntry("retention.ms", "60000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    partition = TopicPartition(topic, 0)
    yield "create_topics", lambda: result(admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)], operation_timeout=5))
    yield "create_topics again", lambda: result(admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)]))
    yield "describe_topics", lambda: topic_of(result(admin.describe_topics(TopicCollection([topic]))))
    yield "create_partitions", lambda: result(admin.create_partitions([NewPartitions(topic, 3)]))
    yield "incremental_alter_configs", lambda: result(
        admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])]))
    yield "describe_configs", lambda: {name: entry.value for name, entry in result(admin.describe_configs([resource]))[str(resource)].items()
                                       if name in ("segment.bytes", "cleanup.policy")}
    yield "list_offsets", lambda: {name: found.offset for name, found in result(admin.list_offsets({partition: OffsetSpec.latest()})).items()}
    yield "delete_records", lambda: {name: found.low_watermark for name, found in result(
        admin.delete_records([TopicPartition(topic, 0, 0)])).items()}
    yield "elect_leaders", lambda: {str(name): str(error) for name, error in
                                    result(admin.elect_leaders(ElectionType.PREFERRED, [partition])).items()}
    yield "describe_cluster", lambda: [node.id for node in result(admin.describe_cluster()).nodes]
    yield "list_consumer_groups", lambda: len(result(admin.list_consumer_groups()).errors)
    yield "describe_consumer_groups", lambda: patiently(lambda: {name: str(found.state) for name, found in result(admin.describe_consumer_groups([group])).items()}, is_loading)
    yield "list_consumer_group_offsets", lambda: patiently(lambda: [
        [(p.topic, p.partition, p.offset) for p in found.topic_partitions]
        for found in result(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [partition])])).values()], is_loading)
    yield "delete_consumer_groups", lambda: result(admin.delete_consumer_groups([group]))
    yield "delete_topics", lambda: result(admin.delete_topics([topic], operation_timeout=5))


main(calls)
