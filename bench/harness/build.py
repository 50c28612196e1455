"""Installs and builds what a run needs; everything goes to bench/.cache, and is kept for the next run."""

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
CACHE = BENCH / ".cache"
MQTT_PARTS = {"taps", "fanout", "crowd"}  # those that need neither Kafka nor kfake
ORACLE_DIRS = [CACHE / "oracle", ROOT / "protocol-tests/.cache/oracle"]  # protocol-tests may have fetched the jars already


class Missing(SystemExit):
    def __init__(self, what):
        super().__init__(f"bench/run: {what}")


@dataclass
class Tools:
    log_load: Path
    floor: Path
    floor_load: Path
    sync_load: Path
    disk_sync: Path
    group_load: Path
    fanout: Path
    window_load: Path
    tap_load: Path = None
    mqtt_load: Path = None
    rumqttd: Path = None
    mosquitto: Path = None
    tifo: Path = None
    cost: Path = None
    kfake: Path = None
    oracle: Path = None
    oracle_dir: Path = None
    streams: tuple = None
    spark: tuple = None


def everything(choice):
    CACHE.mkdir(exist_ok=True)
    tools = c_programs()
    if {"taps", "fanout"} & set(choice.only):
        tools.tap_load = cargo_release(BENCH / "tap-load", CACHE / "tap-load", "tap-load")
    if {"fanout", "crowd"} & set(choice.only):
        mqtt(tools, choice)
    if "kfake" in choice.servers and set(choice.only) - MQTT_PARTS:
        tools.kfake = kfake()
    if "kafka" in choice.servers and set(choice.only) - MQTT_PARTS:
        tools.oracle, tools.oracle_dir = oracle()
    if "aggregate" in choice.only and "kafka" in choice.servers:
        tools.streams, tools.spark = streams(), spark()
    if "tifo" in choice.servers or "taps" in choice.only:
        tools.tifo = Path(choice.tifo).resolve() if choice.tifo else tifo()
    if "aggregate" in choice.only and "tifo" in choice.servers:
        tools.cost = cargo_release(ROOT, target(), "examples/cost", "-p", "tifo-aggregator", "--example", "cost")
    return tools


def c_programs():
    if not Path("/usr/include/librdkafka/rdkafka.h").exists() or not shutil.which("cc"):
        apt("librdkafka-dev", "gcc", "libc6-dev")
    flags = ["cc", "-O2", "-Wall", "-Wextra", "-o"]
    sources = {"log_load": "drivers", "floor": "floor", "floor_load": "floor", "sync_load": "drivers", "disk_sync": "drivers",
               "group_load": "drivers", "fanout": "floor", "window_load": "drivers"}
    for name, folder in sources.items():
        call([*flags, CACHE / name, BENCH / folder / f"{name}.c", "-lrdkafka", "-lpthread"])
    return Tools(*(CACHE / name for name in sources))


def mqtt(tools, choice):
    tools.mqtt_load = cargo_release(BENCH / "mqtt-load", CACHE / "mqtt-load", "mqtt-load")
    if "rumqttd" in choice.mqtt_servers:
        tools.rumqttd = cargo_release(BENCH / "rumqttd", CACHE / "rumqttd", "bench-rumqttd")
    if "mosquitto" in choice.mqtt_servers:
        tools.mosquitto = Path("/usr/sbin/mosquitto")
        if not tools.mosquitto.exists():
            apt("mosquitto")


def apt(*packages):
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    call([*sudo, "apt-get", "update", "-qq"])
    call([*sudo, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages])


def kfake():
    need("go", "install Go, or leave kfake out with --servers")
    call(["go", "build", "-o", CACHE / "kfake", "."], cwd=BENCH / "kfake")
    return CACHE / "kfake"


def oracle():
    need("java", "install a JDK (17 or later), or leave kafka out with --servers")
    script = next((path for place in shared_places() if (path := place / "oracle/kafka-oracle").exists()), None)
    if script is None:
        raise Missing("no shared/oracle/kafka-oracle beside the checkout; set TIFO_SHARED, or leave kafka out with --servers")
    given = [Path(os.environ["TIFO_ORACLE_DIR"])] if "TIFO_ORACLE_DIR" in os.environ else ORACLE_DIRS
    folder = next((path for path in given if (path / "VERSION").exists()), given[0])
    if not (folder / "VERSION").exists():
        need("mvn", "install Maven: it fetches Apache Kafka")
        call([script, "install", folder])
    return script, folder


def jars(name, pom):
    """What a pom names, by Maven; protocol-tests may have fetched the same already."""
    for cache in (CACHE, ROOT / "protocol-tests/.cache"):
        if any((cache / name / "lib").glob("*.jar")):
            return cache / name / "lib"
    need("mvn", "install Maven: it fetches what Tifo is compared with, or leave kafka out with --servers")
    call(["mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={CACHE / name / 'lib'}"])
    return CACHE / name / "lib"


def streams():
    """(jars, classes) of the same windows in Kafka Streams."""
    lib, classes = jars("kafka-streams", ROOT / "protocol-tests/helpers/java/streams/4.3.xml"), CACHE / "streams-classes"
    classes.mkdir(exist_ok=True)
    call(["javac", "-cp", f"{lib}/*", "-d", classes, ROOT / "protocol-tests/helpers/java/streams/StreamsProgram.java", BENCH / "rivals/Windows.java"])
    return lib, classes


def spark():
    """(Python with PySpark, the connector's jars)."""
    lib = jars("spark", ROOT / "protocol-tests/ecosystem/spark.xml")
    for cache in (CACHE, ROOT / "protocol-tests/.cache"):
        if (cache / "venv-spark/bin/pyspark").exists():
            return cache / "venv-spark/bin/python", lib
    if importlib.util.find_spec("ensurepip") is None:
        apt("python3-venv")
    call([sys.executable, "-m", "venv", CACHE / "venv-spark"])
    requirements = ROOT / "protocol-tests/ecosystem/requirements.txt"
    call([CACHE / "venv-spark/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements])
    return CACHE / "venv-spark/bin/python", lib


def shared_places():
    """Given, beside the checkout, or beside the main checkout of a worktree: as in protocol-tests/run."""
    given = os.environ.get("TIFO_SHARED")
    git = subprocess.run(["git", "rev-parse", "--path-format=absolute", "--git-common-dir"], cwd=ROOT, capture_output=True, text=True, check=False)
    main = Path(git.stdout.strip()).parent if git.returncode == 0 else ROOT
    return [Path(given)] if given else [ROOT.parent / "shared", main.parent / "shared"]


def tifo():
    return cargo_release(ROOT, target(), "tifo")


def target():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def cargo_release(folder, target, binary, *what):
    need("cargo", "install Rust")
    call(["cargo", "build", "--release", "--quiet", "--target-dir", target, *what], cwd=folder)
    return target / "release" / binary


def need(program, hint):
    if not shutil.which(program):
        raise Missing(f"{program} is not here; {hint}")


def call(command, **options):
    """Runs a build step with its output on standard error, so that standard output holds the tables only."""
    done = subprocess.run([str(part) for part in command], stdout=sys.stderr, check=False, **options)
    if done.returncode:
        raise Missing(f"failed ({done.returncode}): {' '.join(str(part) for part in command)}")
