"""Options and shared parts: one broker of each kind for the whole run, one JVM for all tools, one matrix."""
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from suite import clients, java_tools, matrix_file, process
from suite.matrix import CODECS, Matrix
from suite.observer import Observer
from suite.targets import Kafka, Tifo

HERE = Path(__file__).parent
TIFO_ONLY = ("pipeline", "durability", "groups")  # folders of what only Tifo has
# As short as the oracle's: both let records that come expired stay so long.
TIFO_TIMERS = {"TIFO_KAFKA__LOG_RETENTION_CHECK_INTERVAL_MS": "500"}
MATRIX = Matrix()


def pytest_addoption(parser):
    group = parser.getgroup("protocol-tests")
    group.addoption("--target", choices=["tifo", "kafka", "both"], default="both", help="against which brokers")
    group.addoption("--tifo", help="the tifo binary")
    group.addoption("--oracle-script", help="shared/oracle/kafka-oracle")
    group.addoption("--oracle-dir", help="where its jars are installed")
    group.addoption("--write-matrix", action="store_true", help="renew the matrix in docs/compatibility.md")
    group.addoption("--cache", default=str(HERE / ".cache"), help="builds, logs, matrix.md")
    group.addoption("--logs", help="the brokers' logs; default: `logs` in the cache")


def targets_of(config):
    chosen = config.getoption("--target")
    return ["tifo", "kafka"] if chosen == "both" else [chosen]


def interrupted(number, _):
    """Unwinds, so that every fixture ends what it has started; further signals do not stop it from doing so."""
    for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt(signal.Signals(number).name)


def pytest_configure(config):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, interrupted)
    config.addinivalue_line("markers", "tifo_only: what only Tifo has; not run when the target is kafka alone")


def pytest_generate_tests(metafunc):
    if "target" in metafunc.fixturenames:
        metafunc.parametrize("target", targets_of(metafunc.config), indirect=True, scope="session")
    if "client" in metafunc.fixturenames:
        metafunc.parametrize("client", clients.NAMES, indirect=True, scope="session")
    if "other_client" in metafunc.fixturenames:
        metafunc.parametrize("other_client", clients.OTHERS, indirect=True, scope="session")
    if "codec" in metafunc.fixturenames:
        metafunc.parametrize("codec", CODECS)


def second_chance_for_the_reference(items):
    """What fails on Apache Kafka alone, now and then, says nothing of Tifo: it is tried once more, and the summary says so."""
    for item in items:
        if hasattr(item, "callspec") and item.callspec.params.get("target") == "kafka":
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_collection_modifyitems(config, items):
    second_chance_for_the_reference(items)
    if "tifo" not in targets_of(config):
        gone = [item for item in items if item.get_closest_marker("tifo_only") or item.path.parent.name in TIFO_ONLY]
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]


@pytest.fixture(scope="session")
def places(request):
    cache = Path(request.config.getoption("--cache")).resolve()
    logs = Path(request.config.getoption("--logs") or cache / "logs").resolve()
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    return SimpleNamespace(cache=cache, bin=cache / "bin", java=cache / "java", node=cache / "js",
                           helpers=HERE / "helpers", logs=logs)


@pytest.fixture(scope="session")
def binary(request):
    binary = request.config.getoption("--tifo")
    assert binary and os.access(binary, os.X_OK), f"no tifo binary at {binary}: give one with --tifo"
    return str(Path(binary).resolve())


@pytest.fixture(scope="session")
def tifo(binary, places):
    """One ephemeral Tifo for all cases."""
    running = Tifo(binary, log_path=places.logs / "tifo.log", env=TIFO_TIMERS)
    yield running
    running.stop()
    assert not Path(running.data_dir).exists(), f"{running.data_dir} is left behind by an ephemeral Tifo"


@pytest.fixture(scope="session")
def kafka(request, places):
    """One Apache Kafka for all cases."""
    run_dir = places.cache / "run" / str(os.getpid())
    run_dir.mkdir(parents=True)
    running = Kafka(request.config.getoption("--oracle-script"), request.config.getoption("--oracle-dir"), run_dir,
                    places.java / "metrics-taker.jar")
    yield running
    running.end()
    shutil.rmtree(run_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def target(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def tool_server(request, places):
    """A function that gives the JVM of Apache Kafka's tools, or that of a version of kafka-clients; started on first use."""
    started = {}

    def start(version):
        if version:
            return java_tools.of_kafka_clients(places.cache / "kafka-clients" / version)
        return java_tools.of_oracle(request.config.getoption("--oracle-dir"), places.java)

    def get(version=None):
        if version not in started:
            started[version] = start(version)
        return started[version]

    yield get
    for server in started.values():
        server.end()


@pytest.fixture(scope="session")
def client(request, places, tool_server, matrix):
    made = clients.make(request.param, places, tool_server)
    matrix.present(made)
    return made


other_client = client


@pytest.fixture(scope="session")
def observers():
    """The observer of a target; one for each."""
    known = {}

    def of(target):
        if target.bootstrap not in known:
            known[target.bootstrap] = Observer(target.bootstrap)
        return known[target.bootstrap]

    return of


@pytest.fixture
def observer(observers, target):
    return observers(target)


@pytest.fixture(scope="session")
def matrix():
    return MATRIX


@pytest.fixture
def ending():
    """Collects members and children; whatever a test leaves running ends with it."""
    running = []
    yield running.append
    for child in running:
        child.end()


def pytest_terminal_summary(terminalreporter, config):
    if MATRIX.empty():
        return
    table = MATRIX.markdown(targets_of(config), clients.ALL)
    terminalreporter.section("matrix")
    terminalreporter.write(table)
    Path(config.getoption("--cache"), "matrix.md").write_text(table, encoding="utf-8")


def pytest_sessionfinish(session):
    """A matrix with holes is not written: the run fails."""
    if session.config.getoption("--write-matrix"):
        targets = targets_of(session.config)
        holes = MATRIX.holes(targets, clients.ALL)
        if targets != ["tifo", "kafka"] or holes:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            print(f"\nthe matrix is not written: targets {targets}, not run: {holes[:10]}")
        else:
            matrix_file.write(MATRIX.markdown(targets, clients.ALL))


def pytest_unconfigure():
    process.end_all()
