"""Admin calls through kafka-python: what each of them gave, or the error that it raised."""
from admin_contract import main, patiently
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic, OffsetSpec, UpdateFeatureType
from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError


def is_loading(error):
    return isinstance(error, (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError))


def calls(bootstrap, topic, group):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    partition = TopicPartition(topic, 0)
    setting = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "60000"})
    metrics = ConfigResource(ConfigResourceType.CLIENT_METRICS, topic, configs={"interval.ms": "60000"})
    yield "create_topics", lambda: [(one["name"], one["error_code"], one["num_partitions"]) for one in admin.create_topics(
        [NewTopic(topic, num_partitions=2, replication_factor=1)], wait_for_metadata=True)["topics"]]
    yield "create_topics again", lambda: admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)])
    yield "describe_topics", lambda: admin.describe_topics([topic])
    yield "describe_topic_partitions", lambda: admin.describe_topic_partitions([topic])
    yield "create_partitions", lambda: admin.create_partitions({topic: 3})
    yield "alter_configs", lambda: admin.alter_configs([setting])
    yield "alter_configs of client metrics", lambda: admin.alter_configs([metrics])
    yield "list_partition_offsets", lambda: admin.list_partition_offsets({partition: OffsetSpec.LATEST})
    yield "delete_records", lambda: admin.delete_records({partition: 0})
    yield "describe_log_dirs", lambda: [(one["error_code"], one["topics"]) for one in admin.describe_log_dirs([partition])[0]["log_dirs"]]
    yield "alter_replica_log_dirs", lambda: admin.alter_replica_log_dirs({(topic, 0, 1): "/no/such/directory"})
    yield "elect_leaders", lambda: admin.elect_leaders(0, {topic: [0]}, raise_errors=False)
    yield "alter_partition_reassignments", lambda: admin.alter_partition_reassignments({partition: [1]})
    yield "alter_partition_reassignments to a stranger", lambda: admin.alter_partition_reassignments({partition: [77]})
    yield "list_partition_reassignments", lambda: admin.list_partition_reassignments({topic: [0]})
    yield "list_config_resources", lambda: admin.list_config_resources([ConfigResourceType.BROKER])
    yield "update_features", lambda: admin.update_features({"eligible.leader.replicas.version": (UpdateFeatureType.UPGRADE, 1)})
    yield "describe_cluster", lambda: admin.describe_cluster()
    yield "describe_groups", lambda: patiently(lambda: admin.describe_groups([group]), is_loading)
    yield "list_group_offsets", lambda: patiently(lambda: admin.list_group_offsets({group: [partition]}), is_loading)
    yield "delete_groups", lambda: patiently(lambda: admin.delete_groups([group]), is_loading)
    yield "delete_topics", lambda: admin.delete_topics([topic])
    admin.close()


main(calls)
