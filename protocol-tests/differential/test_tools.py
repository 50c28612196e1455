"""Apache Kafka's own tools, verb by verb, against both brokers: what they print and how they end is the same.

`tools/*.yaml` says what is run. A step is a command line without `--bootstrap-server`, or `{run: command line, …}` with
`stdin` (lines), `server: false` (no `--bootstrap-server`), `own: true` (of a list of all that there is the session's own lines only), `only` (the
lines in which this regular expression is found), `numbers: hidden` (measuring tools), `until` (run again until this text is in what it says: Kafka answers before it has taken effect).
In texts `$topic` and `$group` are names of the session's own, `$bootstrap` and `$data` the broker's address and directory; `files` of a session are written first, and `$name` is where one lies.
"""
import re
import shlex
import string
import time
from pathlib import Path

import pytest
import yaml
from differential.conftest import side_by_side

SCRIPTS = sorted((Path(__file__).parent / "tools").glob("*.yaml"))
SESSIONS = [(path.stem, session) for path in SCRIPTS for session in yaml.safe_load(path.read_text(encoding="utf-8"))["sessions"]]
UNTIL_S = 20
HIDDEN = [
    (r"(?<![\w-])[\w-]{22}(?![\w-])", "$id"),
    (r"\b1[0-9]{12}\b", "$ms"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,:]\d+Z?", "$time"),
    # Of the metadata log, and so of all that has happened.
    (r"\bEpoch: \d+", "Epoch: $epoch"),
    # A dynamic default of the cluster, shown as such by one release of the tools and not by another.
    (r"(?<=Configs: )min\.insync\.replicas=1,?", ""),
    # Shown because it is written out in the broker's settings: "topic setting `tifo.durability` and broker setting `durability`".
    (r",?tifo\.durability=page-cache", ""),
    (r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "-$uuid"),
]
NUMBER = r"(?<![\w$])-?\d+(\.\d+)?"
# Where in the tool an error came up is no matter of the broker's.
TRACE = re.compile(r"\s*(at [\w.$/]+\(|\.\.\. \d+ more)")


class Tools:
    """The tools on one broker."""

    def __init__(self, server, target, names, places):
        self._server, self._target, self._places = server, target, places
        self._names = {**names, "bootstrap": target.bootstrap, "data": str(target.data_dir)}

    def play(self, session):
        for name, text in session.get("files", {}).items():
            path = self._places / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(self._fill(text), encoding="utf-8")
            self._names[name] = str(path)
        return [self._step(step if isinstance(step, dict) else {"run": step}) for step in session["steps"]]

    def _fill(self, text):
        return string.Template(text).safe_substitute(self._names)

    def _step(self, step):
        tool, *args = shlex.split(self._fill(step["run"]))
        if step.get("server", True):
            args = ["--bootstrap-server", self._target.bootstrap, *args]
        stdin = "".join(f"{self._fill(line)}\n" for line in step.get("stdin", []))
        deadline = time.monotonic() + UNTIL_S
        while True:
            lines, status = self._server.outcome(tool, *args, stdin=stdin)
            if "until" not in step or self._fill(step["until"]) in "\n".join(lines) or time.monotonic() > deadline:
                break
        if step.get("own"):
            lines = [line for line in lines if self._names["topic"] in line or self._names["group"] in line]
        if "only" in step:
            lines = [line for line in lines if re.search(step["only"], line)]
        return step["run"], status, sorted(self._normal(line, step) for line in lines if line.strip() and not TRACE.match(line))

    def _normal(self, line, step):
        line = line.replace(self._target.bootstrap, "$bootstrap").replace(str(self._target.data_dir), "$data")
        line = line.replace(str(self._places), "$files").replace(self._target.bootstrap.rsplit(":", 1)[1], "$port")
        for pattern, name in HIDDEN:
            line = re.sub(pattern, name, line)
        if step.get("numbers") == "hidden":
            line = re.sub(NUMBER, "#", line)
        return re.sub(r"[ \t]+", " ", line).strip()


@pytest.mark.parametrize("script, session", SESSIONS, ids=[f"{script}: {session['name']}" for script, session in SESSIONS])
def test_tools_say_what_they_say_of_kafka(script, session, twin, kafka, tool_server, tmp_path):
    own = re.sub(r"[^a-z0-9]+", "-", f"tools-{script}-{session['name']}")
    names = {"topic": own, "group": f"g-{own}"}
    tools = [Tools(tool_server(), target, names, tmp_path / target.name) for target in (twin, kafka)]
    ours, theirs = side_by_side(lambda tool: tool.play(session), *tools)
    differences = [f"{command}\n  tifo  {status} {lines}\n  kafka {other_status} {others}"
                   for (command, status, lines), (_, other_status, others) in zip(ours, theirs, strict=True)
                   if (status, lines) != (other_status, others)]
    assert not differences, "\n".join(["", *differences])
