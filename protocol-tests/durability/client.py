"""A stock client (librdkafka) that retries nothing, so that each answer of the broker is seen as it is."""
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

OK = None
STORAGE_ERROR = 56
ANSWER_S = 30


class Client:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self._producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "retries": 0, "linger.ms": 0, "log_level": 2,
                                   "max.in.flight.requests.per.connection": 1, "message.timeout.ms": ANSWER_S * 1000})

    def create(self, topic, partitions=1, **config):
        """None, or the error's code."""
        settings = {name.replace("_", "."): value for name, value in config.items()}
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=settings)
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})
        try:
            admin.create_topics([new], request_timeout=ANSWER_S)[topic].result(ANSWER_S)
        except KafkaException as error:
            return error.args[0].code()
        return None

    def send(self, topic, value, partition=0):
        """Sends one record; the answer is awaited by `.get()` of what is returned."""
        answer = Answer(self._producer)
        self._producer.produce(topic, value, partition=partition, on_delivery=answer.take)
        return answer

    def produce(self, topic, value, partition=0):
        """(offset, None), or (None, the error's code)"""
        return self.send(topic, value, partition).get()

    def read(self, topic, partition=0):
        """All values of a partition."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "reader", "enable.auto.commit": False, "check.crcs": True,
                             "enable.partition.eof": True, "log_level": 2})
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        values = []
        try:
            while True:
                message = consumer.poll(ANSWER_S)
                assert message is not None, f"{topic}: no answer"
                if message.error():
                    assert message.error().name() == "_PARTITION_EOF", message.error()
                    return values
                values.append(message.value())
        finally:
            consumer.close()


class Answer:
    def __init__(self, producer):
        self._producer, self._said = producer, None

    def take(self, error, message):
        self._said = (None, error.code()) if error else (message.offset(), None)

    def there(self):
        self._producer.poll(0)
        return self._said is not None

    def get(self):
        if self._said is None:
            self._producer.flush(ANSWER_S)
        assert self._said is not None, f"no answer within {ANSWER_S} s"
        return self._said


def number(index):
    return f"record {index}".encode()


def fill(client, topic, first, count):
    """Appends records that must be taken, at the offsets that follow each other."""
    answers = [client.send(topic, number(index)) for index in range(first, first + count)]
    assert [answer.get() for answer in answers] == [(index, OK) for index in range(first, first + count)]
