"""Groups and transactions: commits, transactions, what idempotence and transactions add to a plain producer, rebalances.

Every load is librdkafka's (drivers/group_load.c), so the groups are classic. Members beat every 100 ms: with Kafka's default of 3 s a
rebalance takes what is left of those, on any broker.
"""

from .drive import Topic, in_turn, load, warm_kafka

COMMITTERS = 8
PRODUCERS = 4
SECONDS = {True: 3, False: 5}
RECORDS = (1, 10, 100)
STREAM_BYTES = {True: 20_000_000, False: 100_000_000}
KINDS = ("plain", "idempotent", "transactional")
MEMBERS = {True: (2, 10), False: (2, 10, 100)}
PARTITIONS_A_MEMBER = 2


def measure(choice, fleet, results):
    names = [name for name in choice.servers if name in ("tifo", "kafka")]
    with warm_kafka(fleet, names, lambda kafka: all_of_it(choice, fleet, kafka, "warm", None)) as kafka:
        for number in range(choice.runs):
            in_turn(fleet, names, kafka, "groups", results, lambda server: all_of_it(choice, fleet, server, f"groups-{number}", results))


def all_of_it(choice, fleet, server, name, results):
    run = Runner(choice, fleet, server, name, results)
    run.commits()
    for records in RECORDS:
        run.transactions(records)
    for kind in KINDS:
        run.stream(kind)
    for members in MEMBERS[choice.quick]:
        run.rebalance(members)


class Runner:
    """One server's round; without results it only warms up."""

    def __init__(self, choice, fleet, server, name, results):
        self.choice, self.fleet, self.server, self.name, self.results = choice, fleet, server, name, results

    def commits(self):
        got = self.load("commits", 1, "-c", COMMITTERS, "-d", SECONDS[self.choice.quick])
        self.keep("groups-commits", commits_per_s=got["rate"], cpu_us_per_commit=per(got), p50_ms=got["p50_ms"], p99_ms=got["p99_ms"])

    def transactions(self, records):
        got = self.load("transactions", 1, "-c", PRODUCERS, "-n", records, "-d", SECONDS[self.choice.quick])
        self.keep("groups-transactions", load=f"{records} records", transactions_per_s=got["rate"], cpu_us_per_transaction=per(got),
                  commit_p50_ms=got["p50_ms"], commit_p99_ms=got["p99_ms"])

    def stream(self, kind):
        payload = STREAM_BYTES[self.choice.quick]
        got = self.load("stream", 1, "-k", kind, "-B", payload)
        self.keep("groups-stream", load=kind, cpu_s_per_gb=got["cpu_seconds"] / payload * 1e9, mb_per_s=payload / got["seconds"] / 1e6, commits=got["commits"])

    def rebalance(self, members):
        got = self.load("rebalance", PARTITIONS_A_MEMBER * (members + 1), "-c", members)
        self.keep("groups-rebalance", load=f"{members} members", **{key: got[key] for key in ("first_ms", "join_ms", "leave_ms")},
                  cpu_ms=got["cpu_seconds"] * 1e3)

    def load(self, mode, partitions, *arguments):
        name = f"{self.name}-{mode}-{'-'.join(str(part).lstrip('-') for part in arguments)}"
        topic = Topic(self.fleet, self.server, name, partitions)
        got = load([self.fleet.tools.group_load, mode, *topic.base, "-P", self.server.pid, "-i", name, *arguments])
        topic.delete()
        return got

    def keep(self, part, **values):
        if self.results:
            self.results.add(part, self.server.name, **values)


def per(got):
    return got["cpu_seconds"] / max(got["count"], 1) * 1e6
