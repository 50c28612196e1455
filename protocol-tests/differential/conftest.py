"""What the differential tests share: a Tifo that is set up as the oracle, and the tally at the end of a run."""
from concurrent.futures import ThreadPoolExecutor

import pytest
from suite.targets import Tifo

TALLY = pytest.StashKey()
# Where each broker is.
OWN_PLACES = {"listeners", "advertised.listeners", "log.dirs"}
# What a reporter says for Apache Kafka.
OWN_SETTINGS = {"TIFO_KAFKA__CLIENT_TELEMETRY_ENABLE": "true"}


def container_environment(settings):
    """As the official image reads it: `_` for a dot, `__` for `_`, `___` for `-`."""
    def variable(name):
        return "KAFKA_" + name.replace("_", "__").replace("-", "___").replace(".", "_").upper()
    return {variable(name): value for name, value in settings.items() if name not in OWN_PLACES}


def side_by_side(play, tifo, kafka):
    """What playing gives on each of the two, at the same time: neither knows of the other."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(play, (tifo, kafka)))


@pytest.fixture(scope="session")
def twin(binary, kafka, places):
    """A Tifo that is set up as the oracle is, by the variables of Kafka's container."""
    env = {**container_environment(kafka.settings()), **OWN_SETTINGS}
    running = Tifo(binary, log_path=places.logs / "differential-tifo.log", env=env)
    yield running
    running.stop()


def pytest_terminal_summary(terminalreporter, config):
    """What a test prints, pytest keeps to itself."""
    if tally := config.stash.get(TALLY, None):
        terminalreporter.section("differential test")
        terminalreporter.write_line(tally)
