"""The matrix client x feature, filled by the tests as they run: what is written there has happened."""
from collections import defaultdict
from contextlib import contextmanager

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
FEATURES = ["create topic", *CODECS, "idempotent", "group of two", "commit", "restart", "by time", "dump-log", "kill -9"]


class Matrix:
    def __init__(self):
        self._cells = defaultdict(list)
        self.notes = {}

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

    def unsupported(self, client, feature, why):
        self.notes[client, feature] = why

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

    def markdown(self, targets):
        clients = list(dict.fromkeys(client for _, client, _ in self._cells))
        rows = [f"Each cell: {' / '.join(targets)}; `-` was not run there.", "",
                "| client | " + " | ".join(FEATURES) + " |", "|---" * (len(FEATURES) + 1) + "|"]
        rows += [f"| {c} | " + " | ".join(self._cell(targets, c, f) for f in FEATURES) + " |" for c in clients]
        notes = [f"- {c}, {f}: {why}" for (c, f), why in self.notes.items() if c in clients]
        return "\n".join(rows + ([""] + notes if notes else [])) + "\n"
