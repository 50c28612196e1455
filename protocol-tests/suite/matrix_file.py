"""The committed matrix: docs/compatibility.md between two markers. Written by a run, compared with the suite by a test."""
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs" / "compatibility.md"
BEGIN = "<!-- The matrix of clients; made by protocol-tests/run --write-matrix -->\n"
END = "<!-- End of the matrix -->\n"


def _parts(text):
    before, begin, rest = text.partition(BEGIN)
    table, end, after = rest.partition(END)
    assert begin and end, f"{FILE} has lost the markers of the matrix"
    return before, table, after


def write(table, file=FILE):
    before, _, after = _parts(file.read_text(encoding="utf-8"))
    file.write_text(before + BEGIN + table + END + after, encoding="utf-8")


def versions(file=FILE):
    """{client: version} of the rows, in their order."""
    rows = [line.split(" | ") for line in _parts(file.read_text(encoding="utf-8"))[1].splitlines() if line.startswith("| ")]
    return {row[0].removeprefix("| "): row[1] for row in rows if row[0] != "| client"}
