"""A broker of each test's own, and a client that retries nothing."""
import pytest

from durability.client import Client
from rig import Tifo


@pytest.fixture
def tifo(binary, tmp_path):
    running = Tifo(binary, tmp_path / "data", "--roles", "broker").start()
    yield running
    running.close()


@pytest.fixture
def strict(tifo):
    return Client(tifo.ready["kafka"])
