"""One broker of its own for each test, since each kills it."""
import pytest

from groups.rig import Broker


@pytest.fixture
def broker(binary, tmp_path):
    running = Broker(binary, tmp_path / "data").start()
    yield running
    running.close()
