"""Plays scripted sessions against one broker and keeps what came back. Judges nothing; `compare.py` does.

A script names the API under test; each of its sessions is played once per version of that API. A step is `{Api: body}`, in the version under
test if it is that API, else in the newest one that both brokers speak. Beside the body a step may carry: `version`, `versions` (the step is left out
of sessions of other versions), `save` (names for values of the answer: `{id: topics.0.topicId}`), `until` (asked again until these values
are there), `on` (the name of a connection other than the first), `cut` (bytes taken off the end), `raw` (hex instead of a body), `patience`
(seconds after which there is no answer, where Kafka is known to give none).
In texts `$topic`, `$group` and `$client` are names of the session's own, `$now`, `$later` (a second later), `$after_now` and `$after_later`
times, `$saved` what was saved. `records: {values: [...]}` becomes a batch, with `transactional: true` one of a transaction.
"""
import itertools
import re
import string
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from differential.schema import Versions
from suite import batches, wire

ANSWER_S = 15
UNTIL_S = 20
UNTIL_PAUSE_S = 0.05
# When the records were made: the same for both brokers, and of today, so that neither takes them for expired.
NOW_MS = time.time_ns() // 1_000_000
BATCH_LIES = {"magic", "crc", "length"}
BATCH_OPTIONS = {"values", "producerId", "producerEpoch", "baseSequence", "timestamp", "times", "transactional"} | BATCH_LIES
# What Kafka answers before it has taken effect (a client meets the topic that "does not exist"): awaited at the broker that needs it.
CHANGES = {"CreateTopics", "DeleteTopics", "CreatePartitions", "AlterConfigs", "IncrementalAlterConfigs", "DeleteRecords"}
BARRIER_TOPIC = "barrier"
STEP_OPTIONS = {"version", "versions", "save", "until", "on", "cut", "raw", "patience"}
# Bodies that no version of any API can mean: the answer must be the same end of the connection.
MALFORMED = {
    "cut in half": lambda body: body[:len(body) // 2] if len(body) > 1 else None,
    "without its last byte": lambda body: body[:-1] if body else None,
    "lengths of 2 GiB": lambda body: b"\x7f\xff\xff\xff" * 4,
    "endless varints": lambda body: b"\xff" * 24,
}


@dataclass
class Step:
    label: str
    answer: object  # a dict, or the word that says how the connection ended


@dataclass
class Session:
    """What to play; `steps` as in the script."""
    script: str
    name: str
    under: str
    steps: list
    versions: Versions = field(default_factory=lambda: Versions("0+"))

    def key(self, version):
        return re.sub(r"[^A-Za-z0-9]+", "-", f"{self.script} {self.name} v{version}").strip("-")


def read_script(path):
    raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    before = raw.get("before", [])
    return [Session(Path(path).stem, one["name"], raw["under"], before + one["steps"], Versions(str(one.get("versions", "0+"))))
            for one in raw["sessions"]]


class Connection(wire.Connection):
    def __init__(self, bootstrap):
        super().__init__(bootstrap, ANSWER_S)
        self._number = 0

    def ask(self, api, version, body, patience=ANSWER_S):
        """The decoded answer, or `closed` or `no answer`."""
        self._number += 1
        self._socket.settimeout(patience)
        try:
            answer = self.exchange(api.frame(version, self._number, body))
        except TimeoutError:
            return "no answer"
        except ConnectionError:
            return "closed"
        try:
            return api.answer(version, answer)
        except (ValueError, struct.error, UnicodeDecodeError) as error:
            return f"undecodable: {error}"


class Player:
    """One broker, and the versions in which it is to be asked."""

    def __init__(self, bootstrap, apis, newest, effects_later=False):
        """`effects_later`: an answer to a change comes before its effect."""
        self.bootstrap, self.apis, self.newest = bootstrap, apis, newest
        self._effects_later, self._barriers = effects_later, itertools.count(1000)

    def advertised(self):
        """{name: (lowest, highest)} of what it says that it speaks."""
        api = self.apis["ApiVersions"]
        connection = Connection(self.bootstrap)
        rows = connection.ask(api, 3, api.request.encode({"clientSoftwareName": "differential", "clientSoftwareVersion": "1"}, 3))
        connection.close()
        names = {api.key: name for name, api in self.apis.items()}
        return {names[row["apiKey"]]: (row["minVersion"], row["maxVersion"]) for row in rows["apiKeys"]}

    def play(self, session, version):
        known = names(session, version)
        connections, steps = {}, []
        try:
            for number, step in enumerate(session.steps):
                if version in Versions(str(step.get("versions", "0+"))):
                    steps.append(self._step(session, version, number, step, known, connections))
        finally:
            for connection in connections.values():
                connection.close()
        return steps

    def body(self, session, version):
        """The encoded body of the first step under test, to be malformed."""
        known = names(session, version)
        for step in session.steps:
            if session.under in step and not self._unknown(step[session.under], known):
                return self.apis[session.under].request.encode(self._fill(step[session.under] or {}, known), version)
        return b""

    def ask_malformed(self, name, version, body):
        connection = Connection(self.bootstrap)
        answer = connection.ask(self.apis[name], version, body)
        connection.close()
        return answer

    def _step(self, session, version, number, step, known, connections):
        name = next(key for key in step if key not in STEP_OPTIONS)
        api = self.apis[name]
        at = step.get("version", version if name == session.under else self.newest[name])
        body = bytes.fromhex(step["raw"]) if "raw" in step else api.request.encode(self._fill(step[name] or {}, known), at)
        body = body[:len(body) - step.get("cut", 0)]
        place = step.get("on", "first")
        deadline = time.monotonic() + UNTIL_S
        while True:
            connection = connections.get(place) or connections.setdefault(place, Connection(self.bootstrap))
            answer = connection.ask(api, at, body, step.get("patience", ANSWER_S))
            if not isinstance(answer, dict):
                connections.pop(place).close()
            wanted = step.get("until", {})
            if all(value_at(answer, path) == value for path, value in wanted.items()):
                break
            assert time.monotonic() < deadline, f"{session.key(version)}, {name} v{at}: never {wanted}: {answer}"
            time.sleep(UNTIL_PAUSE_S)
        if self._effects_later and name in CHANGES:
            self._await_effects()
        for saved, path in step.get("save", {}).items():
            known[saved] = value_at(answer, path)
        return Step(f"{number + 1}. {name} v{at}", answer)

    def make_barrier(self):
        """The topic whose setting shows how far the broker has come: changes take effect in their order."""
        connection = Connection(self.bootstrap)
        self._ask(connection, "CreateTopics", {"topics": [{"name": BARRIER_TOPIC, "numPartitions": 1, "replicationFactor": 1}]})
        connection.close()

    def _await_effects(self):
        value, connection = str(next(self._barriers)), Connection(self.bootstrap)
        resource, setting = {"resourceType": 2, "resourceName": BARRIER_TOPIC}, "delete.retention.ms"
        self._ask(connection, "IncrementalAlterConfigs", {"resources": [
            {**resource, "configs": [{"name": setting, "configOperation": 0, "value": value}]}]})
        deadline = time.monotonic() + UNTIL_S
        while True:
            answer = self._ask(connection, "DescribeConfigs", {"resources": [{**resource, "configurationKeys": [setting]}]})
            if value_at(answer, "results.0.configs.0.value") == value:
                break
            assert time.monotonic() < deadline, f"no effect of a change within {UNTIL_S} s: {answer}"
        connection.close()

    def _ask(self, connection, name, values):
        api, version = self.apis[name], self.newest[name]
        return connection.ask(api, version, api.request.encode(values, version))

    def _unknown(self, value, known):
        """Whether it needs what only an earlier answer can tell."""
        texts = re.findall(r"\$\{?(\w+)", str(value))
        return any(text not in known for text in texts)

    def _fill(self, value, known):
        if isinstance(value, dict):
            if "values" in value and set(value) <= BATCH_OPTIONS:
                return batch(self._fill_all(value, known))
            return self._fill_all(value, known)
        if isinstance(value, list):
            return [self._fill(item, known) for item in value]
        if not isinstance(value, str) or "$" not in value:
            return value
        if value[1:] in known:
            return known[value[1:]]
        return string.Template(value).safe_substitute(known)

    def _fill_all(self, values, known):
        return {name: self._fill(value, known) for name, value in values.items()}


def names(session, version):
    """What a session's texts may name from the start."""
    key, later = session.key(version), NOW_MS + 1000
    return {"topic": key, "group": f"g-{key}", "client": "differential",
            "now": NOW_MS, "after_now": NOW_MS + 1, "later": later, "after_later": later + 1}


def batch(options):
    """One record batch, or the same several times; `magic`, `crc` and `length` lie when they are given."""
    values = [value.encode() for value in options["values"]]
    producer = tuple(options.get(name, -1) for name in ("producerId", "producerEpoch", "baseSequence"))
    lies = {name: options[name] for name in BATCH_LIES if name in options}
    lies["flags"] = batches.TRANSACTIONAL if options.get("transactional") else 0
    return batches.of_values(values, options.get("timestamp", NOW_MS), producer, **lies).encode() * options.get("times", 1)


def value_at(answer, path):
    """The value at `topics.0.topicId`; None where there is none."""
    for part in path.split("."):
        try:
            answer = answer[int(part)] if isinstance(answer, list) else answer[part]
        except (KeyError, IndexError, TypeError):
            return None
    return answer
