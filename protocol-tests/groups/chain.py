"""A chain of transactional copiers under faults: a source writes into `chain-0`, each link copies into the next topic, exactly once.

The first link is Apache Kafka's client, the second franz-go's GroupTransactSession.
"""
import random
import signal

from groups import judge
from groups.rig import Broker, Program, Source, Watcher, read_committed
from rig import eventually
from suite.proxy import StrikingProxy
from suite.wire import END_TXN, SYNC_GROUP, TXN_OFFSET_COMMIT

PARTITIONS = 2
LINKS = 2
COPIERS = 2
STALL_S = (0.2, 3.0)
SETTLED_S = 120


def programs(oracle_dir, places):
    """The copier of each link."""
    return [java(oracle_dir, places.java), [places.bin / "copier"]]


def java(oracle_dir, classes):
    return ["java", "-Xmx128M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={oracle_dir}/tools-log4j2.properties", "-cp", f"{oracle_dir}/lib/*:{classes}", "TransactionCopier"]


class Chain:
    def __init__(self, binary, data_dir, copiers, seed, protocol="classic", say=lambda line: None):
        self.random, self.say, self._seed = random.Random(seed), say, seed
        self.broker, self._proxy = Broker(binary, data_dir), None
        self.copiers = []
        self._programs, self._protocol = copiers, protocol

    def go(self, faults):
        """What is wrong; nothing: nothing is."""
        try:
            return self._go(faults)
        finally:
            for copier in self.copiers:
                copier.end()
            if self._proxy:
                self._proxy.end()
            self.broker.close()

    def _go(self, faults):
        self.broker.start()
        self._proxy = StrikingProxy(self.broker.bootstrap, self._seed)
        self.broker.advertise(self._proxy.address)
        self.broker.create(**{f"chain-{number}": PARTITIONS for number in range(LINKS + 1)})
        source = Source(self.broker, "chain-0", PARTITIONS)
        watchers = [Watcher(self.broker, group(link)) for link in range(LINKS)]
        for link in range(LINKS):
            self._start(link)
        for copier in self.copiers[::COPIERS]:
            copier.await_line(lambda line: line["copied"] > 0)
        for number in range(faults):
            self._fault(number)
        written = source.stop()
        self.broker.get(f"/v1/groups/{group(0)}?lag=0&timeout={SETTLED_S}s", timeout=SETTLED_S + 10)
        self._await(lambda: self._arrived() >= sum(map(len, written.values())), "everything arrives")
        for copier in self.copiers:
            copier.stop()
        faults = [fault for watcher in watchers for fault in judge.went_back(watcher.stop())]
        found = read_committed(self.broker, f"chain-{LINKS}", PARTITIONS)
        values = {partition: [value for _, value in records] for partition, records in found.items()}
        self.say(f"{sum(map(len, written.values()))} records went through {LINKS} links, {faults or 'no offset back'}")
        return faults + judge.copied(written, values)

    def _start(self, link):
        for number in range(COPIERS):
            copier = Program([*self._programs[link], "--bootstrap", self.broker.bootstrap, "--input", f"chain-{link}",
                              "--output", f"chain-{link + 1}", "--group", group(link), "--id", f"copier-{link}-{number}",
                              "--protocol", self._protocol])
            copier.start()
            self.copiers.append(copier)

    def _fault(self, number):
        """Each kind in turn, then at random; the next one comes when the last link copies again."""
        kinds = [self._kill_at_the_end_of_a_transaction, self._stall_at_a_commit, self._kill_in_a_rebalance,
                 self.broker.kill_and_start, self._stall, self._kill_a_copier]
        act = kinds[number] if number < len(kinds) else self.random.choice(kinds)
        self.say(f"fault {number + 1}: {act.__name__}")
        act()
        before = self._committed()
        self._await(lambda: self._committed() > before, "copying goes on")

    def _kill_at_the_end_of_a_transaction(self):
        self._strike(END_TXN, signal.SIGKILL)
        self.broker.kill_and_start()

    def _stall_at_a_commit(self):
        self._strike(TXN_OFFSET_COMMIT, signal.SIGSTOP)
        self.broker.go_on_after(self.random.uniform(*STALL_S))

    def _kill_in_a_rebalance(self):
        """The copier that comes back brings it about."""
        self._strike(SYNC_GROUP, signal.SIGKILL, self._kill_a_copier)
        self.broker.kill_and_start()

    def _strike(self, api_key, number, cause=lambda: None):
        process = self.broker.process
        fallen = self._proxy.arm(api_key, lambda: process.send_signal(number))
        cause()
        assert fallen.wait(SETTLED_S), f"no request {api_key} came"

    def _stall(self):
        self.broker.stop_for(self.random.uniform(*STALL_S))

    def _kill_a_copier(self):
        self.random.choice(self.copiers).kill_and_start()

    def _committed(self):
        found = self.broker.get(f"/v1/groups/{group(LINKS - 1)}")
        return sum(offset["committed"] or 0 for offset in found["offsets"])

    def _await(self, holds, what):
        try:
            eventually(holds, SETTLED_S)
        except AssertionError as error:
            said = "\n".join(copier.report() for copier in self.copiers)
            raise AssertionError(f"{what}: {error}\n{said}\n{self.broker.log()[-2000:]}") from None

    def _arrived(self):
        """How many committed records the last topic holds."""
        return sum(map(len, read_committed(self.broker, f"chain-{LINKS}", PARTITIONS).values()))


def group(link):
    return f"link-{link}"
