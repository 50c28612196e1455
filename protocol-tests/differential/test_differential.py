"""The differential test: the same sessions against Tifo and Apache Kafka, every field compared. See differential/README.md."""
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from differential.compare import Explained, differences, normalise
from differential.conftest import TALLY, side_by_side
from differential.play import MALFORMED, Player, read_script
from differential.schema import load

HERE = Path(__file__).parent
SCRIPTS = sorted((HERE / "scripts").glob("*.yaml"))
COMPATIBILITY = HERE.parent.parent / "docs" / "compatibility.md"
SHOWN = 60
LEAST_CASES = 1500
LEAST_BAD = 2


class Run:
    """Both brokers, and the tally of the whole run."""

    def __init__(self, tifo, kafka, apis, report):
        newest = {}
        self.tifo = Player(tifo.bootstrap, apis, newest)
        self.kafka = Player(kafka.bootstrap, apis, newest, effects_later=True)
        ours, theirs = self.tifo.advertised(), self.kafka.advertised()
        self.common = {name: range(max(ours[name][0], low), min(ours[name][1], high) + 1)
                       for name, (low, high) in theirs.items() if name in ours}
        newest.update({name: versions[-1] for name, versions in self.common.items()})
        self.explained = Explained(yaml.safe_load((HERE / "explained.yaml").read_text(encoding="utf-8")))
        self.same = self.different = self.known = 0
        self.cases = defaultdict(lambda: [0, 0])  # (api, version) -> [well formed, malformed]
        self.report = report

    def session(self, session, version):
        played = side_by_side(lambda player: player.play(session, version), self.tifo, self.kafka)
        answers = [normalise(steps, session.key(version)) for steps in played]
        self.cases[session.under, version][0] += 1
        return self._judge(session.under, version, session.name, differences(*answers))

    def malformed(self, name, version, what, body):
        ours, theirs = side_by_side(lambda player: player.ask_malformed(name, version, body), self.tifo, self.kafka)
        self.cases[name, version][1] += 1
        alike = [] if ending(ours) == ending(theirs) else [(f"1. {name} v{version}", "ending", ending(ours), ending(theirs))]
        return self._judge(name, version, what, alike)

    def _judge(self, api, version, session, found):
        unexplained = [one for one in found if not self.explained.explains(api, session, one)]
        if unexplained:
            self.different += 1
        elif found:
            self.known += 1
        else:
            self.same += 1
        lines = [f"{api} v{version}, {session}, {label}: {path}: tifo {ours!r}, kafka {theirs!r}" for label, path, ours, theirs in unexplained]
        with self.report.open("a", encoding="utf-8") as out:
            out.writelines(line + "\n" for line in lines)
        return lines


def ending(answer):
    """Of a malformed request only whether it was answered counts: what the bytes may mean is chance."""
    return "answered" if isinstance(answer, dict) else answer


@pytest.fixture(scope="session")
def run(request, twin, kafka, places):
    apis = load(request.config.getoption("--oracle-dir"))
    report = places.cache / "differential.txt"
    report.write_text("", encoding="utf-8")
    run = Run(twin, kafka, apis, report)
    run.kafka.make_barrier()
    for session in read_script(HERE / "warm-up.yaml"):
        for player in (run.tifo, run.kafka):
            player.play(session, run.common[session.under][-1])
    yield run
    request.config.stash[TALLY] = f"same {run.same}, different {run.different}, explained {run.known}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_answers_as_kafka_does(script, run):
    sessions = read_script(script)
    found = []
    for version in run.common[sessions[0].under]:
        for session in sessions:
            if version in session.versions:
                found += run.session(session, version)
        body = run.kafka.body(sessions[0], version)
        for what, malform in MALFORMED.items():
            bad = malform(body)
            if bad is not None:
                found += run.malformed(sessions[0].under, version, what, bad)
    assert not found, "\n".join(["", *found[:SHOWN], f"({len(found)} in all, see .cache/differential.txt)"])


def test_every_advertised_version_was_tried(run):
    untried = [(name, version) for name, versions in run.common.items() for version in versions
               if run.cases[name, version][0] < 1 or run.cases[name, version][1] < LEAST_BAD]
    assert not untried
    assert run.same + run.different + run.known >= LEAST_CASES


def test_every_explanation_is_used_and_published(run):
    assert not run.explained.unused()
    published = COMPATIBILITY.read_text(encoding="utf-8")
    assert not [row for row in run.explained.rows if f"| {row['see']} |" not in published]
