"""A run: producers write, the broker is killed and started again, everything is read back and judged."""
import random
import time
from dataclasses import dataclass, field

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from durability import reader, verdict
from durability.load import KEYS, Load, is_idempotent
from rig import Tifo

SEGMENT_BYTES = 1_048_576
# A kill comes after so many further acknowledgements: from "just back" to "in full flow".
ACKNOWLEDGEMENTS_BEFORE_A_KILL = (10, 6000)
ADMIN_S = 30


@dataclass(frozen=True)
class Topic:
    partitions: int
    config: dict = field(default_factory=dict)

    def cleanup(self):
        if "compact" in self.config.get("cleanup.policy", ""):
            return "compact"
        return "delete" if RETENTION in self.config else "none"


SMALL = {"segment.bytes": str(SEGMENT_BYTES)}
RETENTION = "retention.bytes"
TOPICS = {
    "log": Topic(4, SMALL),
    "retained": Topic(2, SMALL | {RETENTION: str(SEGMENT_BYTES)}),
    "compacted": Topic(2, SMALL | {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"}),
    "synced": Topic(2, SMALL | {"tifo.durability": "fsync"}),
}


@dataclass
class Outcome:
    seed: int
    cycles: int
    partitions: list
    ledger: object
    findings: list
    restarts_ms: list

    def faults(self):
        """What must be nought. A plain producer's retries may duplicate; an idempotent one's may not."""
        counts = verdict.total(self.partitions)
        faults = {name: counts[name] for name in verdict.FAULTS if name != "duplicated"}
        faults["duplicated with idempotence"] = verdict.duplicates_of(self.partitions, is_idempotent)
        faults["given up"] = len(self.ledger.gave_up)
        faults["told to a reader"] = len(self.findings)
        return {name: count for name, count in faults.items() if count}

    def report(self):
        examples = [example for partition in self.partitions for example in partition.examples]
        slowest = max(self.restarts_ms, default=0)
        head = f"seed {self.seed}, {self.cycles} kills, restart to ready at most {slowest:.0f} ms; faults: {self.faults() or 'none'}"
        return "\n".join([head, verdict.table(self.partitions), *examples[:20], *self.ledger.gave_up[:5], *self.findings[:5]])


class Run:
    def __init__(self, binary, data_dir, programs, cycles, seed, rate, topics=None, say=lambda line: None):
        self.random, self.seed, self.cycles, self.say = random.Random(seed), seed, cycles, say
        self.topics, self.programs, self.rate = topics or TOPICS, programs, rate
        self.tifo, self.restarts_ms = Tifo(binary, data_dir, "--roles", "broker"), []
        self.load, self.along, self.began = None, None, time.monotonic()

    def go(self):
        try:
            self.tifo.start()
            counts = {name: topic.partitions for name, topic in self.topics.items()}
            create(self.bootstrap, self.topics)
            self.load = Load(self.programs, self.bootstrap, counts, self.rate)
            whole = {name: topic.partitions for name, topic in self.topics.items() if topic.cleanup() == "none"}
            self.along = reader.Along(self.bootstrap, whole)
            self.load.await_acknowledgements(1)
            for number in range(self.cycles):
                self.cycle(number)
            return self.judge()
        finally:
            if self.load:
                self.load.end()
            self.tifo.close()

    @property
    def bootstrap(self):
        return self.tifo.ready["kafka"]

    def cycle(self, number):
        more = self.random.randint(*ACKNOWLEDGEMENTS_BEFORE_A_KILL)
        self.load.await_acknowledgements(more)
        self.restart()
        total = sum(self.load.acknowledged().values())
        self.tell(f"kill {number + 1} after {more} more, {total} acknowledged, ready again in {self.restarts_ms[-1]:.0f} ms")

    def restart(self):
        self.tifo.kill()
        began = time.monotonic()
        self.tifo.start()
        self.restarts_ms.append((time.monotonic() - began) * 1000)

    def judge(self):
        """One more kill, when everything has been answered, then the reading."""
        self.load.await_acknowledgements(1)
        ledger = self.load.stop()
        self.tell("the producers have ended")
        self.restart()
        seen = self.along.stop()
        self.tell("the reader has ended")
        keep_everything(self.bootstrap, [name for name, topic in self.topics.items() if topic.cleanup() == "delete"])
        partitions = reader.read_back(self.bootstrap, ledger, self.kinds(), seen, KEYS)
        self.tell("everything is read back")
        assert self.tifo.terminate() == 0, self.tifo.log()
        return Outcome(self.seed, self.cycles + 1, partitions, ledger, self.along.findings, self.restarts_ms)

    def kinds(self):
        return {name: (topic.partitions, topic.cleanup()) for name, topic in self.topics.items()}

    def tell(self, what):
        self.say(f"{time.monotonic() - self.began:6.1f} s: {what}")


def create(bootstrap, topics):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    new = [NewTopic(name, num_partitions=topic.partitions, replication_factor=1, config=topic.config) for name, topic in topics.items()]
    for future in admin.create_topics(new).values():
        future.result(ADMIN_S)


def keep_everything(bootstrap, topics):
    """From now on nothing is taken away under the reader."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    unlimited = ConfigEntry(RETENTION, "-1", incremental_operation=AlterConfigOpType.SET)
    for future in admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, name, incremental_configs=[unlimited]) for name in topics]).values():
        future.result(ADMIN_S)
