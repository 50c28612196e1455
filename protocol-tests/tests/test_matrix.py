"""The matrix in docs/compatibility.md: whose it is, and how a run writes it."""
from types import SimpleNamespace

from suite import clients, matrix_file
from suite.matrix import FEATURES, Matrix

RENEW = "renew it: protocol-tests/run --write-matrix tests/test_clients.py tests/test_restart.py"
PAGE = f"before\n{matrix_file.BEGIN}old\n{matrix_file.END}after\n"


def test_the_committed_matrix_is_that_of_the_suite(places, tool_server):
    """These clients, in these versions; kcat comes from the machine, so its version may be another."""
    shown = matrix_file.versions()
    assert list(shown) == clients.ALL, RENEW
    for name in clients.ALL:
        assert name == "kcat" or shown[name] == clients.make(name, places, tool_server).version(), f"{name}: {RENEW}"


def client(name, unsupported):
    return SimpleNamespace(name=name, version=lambda: "1.2.3 (inner 4)", unsupported=unsupported, remark=None)


def walked(name, unsupported, but=()):
    """A matrix in which a client has done everything on both brokers, but some."""
    matrix = Matrix()
    matrix.present(client(name, unsupported))
    for target in ("tifo", "kafka"):
        for feature in FEATURES:
            if (target, feature) not in but:
                with matrix.step(target, name, feature):
                    pass
    return matrix


def test_what_was_not_run_is_a_hole():
    targets = ["tifo", "kafka"]
    assert walked("a", {}).holes(targets, ["a"]) == []
    assert walked("a", {}, [("kafka", "lz4")]).holes(targets, ["a"]) == [("kafka", "a", "lz4")]
    assert walked("a", {"lz4": "why"}, [("kafka", "lz4")]).holes(targets, ["a"]) == []
    assert walked("a", {}, [("kafka", "kill -9")]).holes(targets, ["a"]) == []
    assert len(walked("a", {}).holes(targets, ["a", "b"])) == 2 * (len(FEATURES) - 1)


def test_written_between_the_markers_and_read_again(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    matrix_file.write(walked("a", {"lz4": "why"}).markdown(["tifo", "kafka"], ["a", "b"]), page)
    assert matrix_file.versions(page) == {"a": "1.2.3 (inner 4)"}
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "not in client" in text and "- a, lz4: why" in text


def test_a_step_that_fails_shows():
    matrix = walked("a", {})
    try:
        with matrix.step("kafka", "a", "commit"):
            raise AssertionError
    except AssertionError:
        pass
    assert "ok / FAIL" in matrix.markdown(["tifo", "kafka"], ["a"])
