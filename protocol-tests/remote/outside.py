"""A Tifo whose log is in another cluster: `tifo serve --bootstrap …`, with topics that no other case uses."""

import json
import os
import queue
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from suite import process

READY_S = 60


class Outside:
    """Runs until it is ended; `ready` is its ready line."""

    def __init__(self, binary, bootstrap, roles, settings, log_path=None):
        self.folder = tempfile.TemporaryDirectory(prefix="tifo-outside-")
        config = Path(self.folder.name, "tifo.toml")
        config.write_text(settings, encoding="utf-8")
        ports = ["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]
        log = open(log_path, "a", encoding="utf-8") if log_path else None
        self.child = process.Child([binary, "serve", "--bootstrap", bootstrap, "--roles", roles, "--config", config, *ports],
                                   cwd=self.folder.name, env=os.environ,
                                   on_error_line=(lambda line: print(line, file=log, flush=True)) if log else None)
        try:
            line = self.child.line(READY_S)
        except queue.Empty:
            line = None
        if line is None:
            raise process.ProcessFailed(self.child.report("no ready line"))
        self.ready = json.loads(line)
        self.http = f"http://{self.ready['http']}" if "http" in self.ready else None

    def kill_9(self):
        self.child.signal(signal.SIGKILL)
        self.child.wait()

    def stop(self):
        self.child.signal(signal.SIGTERM)
        status = self.child.wait()
        assert status == 0, self.child.report("after SIGTERM")

    def end(self):
        self.child.end()
        self.folder.cleanup()

    def ask(self, path, body=None):
        """(status, JSON) of a GET, or of a POST with a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.http + path, data=data, headers={"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")


def refused(binary, *arguments):
    """What it says on standard error before it ends with failure."""
    done = subprocess.run([binary, "serve", *arguments], capture_output=True, text=True, timeout=READY_S, check=False,
                          cwd=tempfile.gettempdir())
    assert done.returncode != 0 and not done.stdout, done
    return done.stderr


def stream(name, raw, into):
    """A stream of its own: every case shares the cluster."""
    return f"""
[[stream]]
name = "{name}"
top_n = 10
[stream.ingest]
topic = "{raw}"
partitions = 3
[stream.aggregate]
name = "{name}"
from = "{raw}"
into = "{into}"
window = {{ tumble = "2s" }}
group_by = ["channel_id", "metadata.reaction"]
"""


def aggregate(name, raw, **settings):
    """An aggregate table; its topics are called after it. Values are written as TOML."""
    lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
    return f'\n[[aggregate]]\nname = "{name}"\nfrom = "{raw}"\ninto = "{name}-out"\npartitions = 6\n{lines}'
