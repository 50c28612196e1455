"""The matrix client x feature, filled by the tests as they run: what is written there has happened."""
from collections import defaultdict
from contextlib import contextmanager

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
FEATURES = ["create topic", *CODECS, "idempotent", "group of two", "commit", "restart", "by time", "dump-log", "kill -9"]


class Matrix:
    def __init__(self):
        self._cells = defaultdict(list)
        self._versions, self._remarks, self.notes = {}, {}, {}

    def present(self, client):
        """A client takes part: its version, as it tells it, and what it cannot do by itself."""
        self._versions[client.name] = client.version()
        if client.remark:
            self._remarks[client.name] = client.remark
        for feature, why in client.unsupported.items():
            self.notes[client.name, feature] = why

    @contextmanager
    def step(self, target, client, *features):
        """Marks the features as failed, unless the block ends well."""
        outcome = {"ok": False}
        for feature in features:
            self._cells[target, client, feature].append(outcome)
        yield
        outcome["ok"] = True

    def empty(self):
        return not self._cells

    def holes(self, targets, clients):
        """What was not run of what everyone runs; only some go through kill -9."""
        everyone = [(t, c, f) for t in targets for c in clients for f in FEATURES if f != "kill -9" and (c, f) not in self.notes]
        return [cell for cell in everyone if cell not in self._cells]

    def _cell(self, targets, client, feature):
        if (client, feature) in self.notes:
            return "not in client"
        words = []
        for target in targets:
            outcomes = self._cells.get((target, client, feature))
            if outcomes:
                words.append("ok" if all(o["ok"] for o in outcomes) else "FAIL")
            else:
                words.append("-")
        return " / ".join(words)

    def markdown(self, targets, order):
        clients = [name for name in order if any(client == name for _, client, _ in self._cells)]
        rows = [f"Each cell: {' / '.join(targets)}; `-` was not run there.", "",
                "| client | version | " + " | ".join(FEATURES) + " |", "|---" * (len(FEATURES) + 2) + "|"]
        rows += [f"| {c} | {self._versions.get(c, '')} | " + " | ".join(self._cell(targets, c, f) for f in FEATURES) + " |"
                 for c in clients]
        notes = [f"- {c}, {f}: {why}" for (c, f), why in self.notes.items() if c in clients]
        notes += [f"- {c} {remark}" for c, remark in self._remarks.items()]
        return "\n".join(rows + ([""] + notes if notes else [])) + "\n"
