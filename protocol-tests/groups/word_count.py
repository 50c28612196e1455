"""Kafka Streams' word count, exactly once, while the application and the broker are killed and stopped."""
import random
from collections import Counter

from groups import judge
from groups.rig import Broker, Program, Source, read_committed
from rig import eventually

PARTITIONS = 2
WORDS = ["goal", "cheer", "wave", "clap", "foul", "save", "corner"]
STALL_S = (0.2, 3.0)
SETTLED_S = 180
APPLICATION = "word-count"


def line_of(number):
    """Some words; the same for the same number."""
    chosen = random.Random(number)
    return " ".join(chosen.choices(WORDS, k=chosen.randint(1, 5)))


class WordCount:
    def __init__(self, binary, data_dir, java_command, state_dir, seed, say=lambda line: None):
        self.random, self.say = random.Random(seed), say
        self.broker, self._java, self._state_dir = Broker(binary, data_dir), java_command, state_dir
        self.application = None

    def go(self, faults):
        """What is wrong; nothing: nothing is."""
        try:
            return self._go(faults)
        finally:
            if self.application:
                self.application.end()
            self.broker.close()

    def _go(self, faults):
        self.broker.start()
        self.broker.create(lines=PARTITIONS, counts=PARTITIONS)
        source = Source(self.broker, "lines", PARTITIONS, value=line_of, rate=100)
        self.application = Program([*self._java, "WordCount", "--bootstrap", self.broker.bootstrap, "--input", "lines", "--output", "counts",
                                    "--application", APPLICATION, "--state-dir", self._state_dir])
        self.application.start()
        self.application.await_line(lambda line: line["state"] == "RUNNING")
        for number in range(faults):
            self._fault(number)
        words = Counter(word for lines in source.stop().values() for line in lines for word in line.split(" "))
        self._await(lambda: self._counted() >= words.total(), "everything is counted")
        self.application.stop()
        found = [(word, int(count)) for records in read_committed(self.broker, "counts", PARTITIONS).values() for word, count in records]
        self.say(f"{words.total()} words counted")
        return judge.counts_of_words(words, found)

    def _fault(self, number):
        kinds = [self.application.kill_and_start, self.broker.kill_and_start, self._stall]
        act = kinds[number] if number < len(kinds) else self.random.choice(kinds)
        self.say(f"fault {number + 1}: {act.__name__}")
        before = self._counted()
        act()
        self._await(lambda: self._counted() > before, "counting goes on")

    def _stall(self):
        self.broker.stop_for(self.random.uniform(*STALL_S))

    def _counted(self):
        return sum(map(len, read_committed(self.broker, "counts", PARTITIONS).values()))

    def _await(self, holds, what):
        try:
            eventually(holds, SETTLED_S)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}\n{self.application.report()}\n{self.broker.log()[-2000:]}") from None
