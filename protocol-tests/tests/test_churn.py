"""Topics that come, are used and go, from many clients at once: an effect comes before its reply, so nothing is ever to be tried again.

`TIFO_CHURN_CYCLES=10000 protocol-tests/run --target tifo -k churn` is the long run.
"""
import json
import os

import pytest
from suite import process

CLIENTS = 16
CYCLES = int(os.environ.get("TIFO_CHURN_CYCLES", "480"))
SECONDS = 120 + CYCLES / 5


@pytest.mark.tifo_only
@pytest.mark.timeout(SECONDS + 30)
def test_create_use_delete_without_one_retriable_error(tifo, places):
    command = [places.bin / "churn", "-bootstrap", tifo.bootstrap, "-clients", CLIENTS, "-cycles", CYCLES]
    told = json.loads(process.run([str(part) for part in command], timeout=SECONDS))
    print(told)
    assert (told["cycles"], told["retriable"], told["other"]) == (CYCLES, 0, 0), told
