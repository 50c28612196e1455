"""The contract of helpers for admin calls: `HELPER --bootstrap B --topic T --group G` makes the calls one after the other and prints a
JSON line for each, `{"call": name, "answer": value}` or `{"call": name, "error": kind}`. It judges nothing: the suite compares."""
import argparse
import json
import time

PATIENCE_S = 20


def main(calls):
    options = argparse.ArgumentParser()
    for name in ("bootstrap", "topic", "group"):
        options.add_argument(f"--{name}", required=True)
    for name, call in calls(**vars(options.parse_args())):
        try:
            said = {"answer": call()}
        except Exception as error:  # whatever a client raises is what it tells its user
            code = error.args[0] if error.args else None
            said = {"error": type(error).__name__, "code": code.name() if hasattr(code, "name") else None}
        print(json.dumps({"call": name, **plain(said)}, default=str, sort_keys=True), flush=True)


def patiently(call, is_loading):
    """A coordinator that has just been asked for the first time may still load; the client's error says so."""
    for _ in range(PATIENCE_S):
        try:
            return call()
        except Exception as error:
            if not is_loading(error):
                raise
            time.sleep(1)
    return call()


def plain(value):
    """With keys that JSON can have."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
