#!/usr/bin/env python3
"""Writes the first inputs of the fuzz targets: seeds.py FOLDER. Requests are those of the golden frames, and the known killers."""
import hashlib
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "protocol-tests"))
sys.dont_write_bytecode = True

from suite import batches  # noqa: E402  (the path above comes first)

MQTT = ROOT / "fuzz/mqtt-seeds.txt"
DOORS = {"tcp": 0, "websocket": 1, "opening": 2}
GOLDEN = ROOT / "broker/server/tests/golden"
NOW_MS = 1_800_000_000_000
CLIENT = struct.pack(">h", 4) + b"fuzz"
METADATA, PRODUCE = 3, 0


def frame(key, version, body):
    return struct.pack(">hhi", key, version, 1) + CLIENT + body


def killers():
    """Bodies that have brought decoders down: array lengths far beyond what follows."""
    yield frame(METADATA, 0, bytes.fromhex("7fffffff00"))
    yield frame(METADATA, 0, bytes.fromhex("033c0c00b6"))
    yield frame(METADATA, 0, struct.pack(">i", 100_000) + bytes(200_000))  # the shortest elements there are


def golden(path):
    """The requests of one file; its layout is described in broker/server/tests/golden.rs."""
    kind, digits = None, ""
    for line in [*path.read_text(encoding="utf-8").splitlines(), "end"]:
        word = line.strip()
        if word in ("setup", "request", "response", "closed", "end"):
            if kind in ("setup", "request"):
                yield bytes.fromhex("".join(digits.split()))
            kind, digits = word, ""
        elif word and not word.startswith("#"):
            digits += word.replace(" ", "")


def record_batches():
    plain = b"".join(batches.Record().encode(index) for index in range(3))
    many = batches.Batch(NOW_MS, tuple(batches.Record() for _ in range(3)))
    yield many
    yield many.with_(codec=batches.GZIP)
    yield many.with_(codec=batches.SNAPPY, payload=bytes([len(plain), len(plain) - 1 << 2]) + plain)
    yield many.with_(codec=batches.LZ4, payload=bytes.fromhex("04224d18604082") + struct.pack("<I", len(plain) | 1 << 31) + plain + bytes(4))
    yield many.with_(codec=batches.ZSTD, payload=bytes.fromhex("28b52ffd20") + bytes([len(plain), len(plain) << 3 & 255 | 1, len(plain) >> 5, 0]) + plain)
    yield many.with_(codec=batches.SNAPPY, payload=bytes.fromhex("ffffffff0700"))  # claims 2 GiB in six bytes
    yield batches.Batch(NOW_MS, (batches.Record(bytes(64 << 20)),), codec=batches.GZIP)  # a bomb
    yield many.with_(flags=batches.TRANSACTIONAL, producer=(1, 0, 0))
    yield many.with_(flags=batches.CONTROL, producer=(1, 0, -1))


def mqtt():
    """Door, size of the pieces less one, and the bytes."""
    for line in MQTT.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            door, _ending, digits = line.split(maxsplit=2)
            yield bytes([DOORS[door], 255]) + bytes.fromhex("".join(digits.split()))


def main(folder):
    seeds = {"requests": [*killers(), *(one for path in sorted(GOLDEN.glob("*.txt")) for one in golden(path))],
             "batches": [one.encode() for one in record_batches()],
             "mqtt": [*mqtt()]}
    for target, inputs in seeds.items():
        place = Path(folder) / target
        place.mkdir(parents=True, exist_ok=True)
        for one in inputs:
            (place / hashlib.sha256(one).hexdigest()[:16]).write_bytes(one)
        print(f"{target}: {len(inputs)} seeds")


if __name__ == "__main__":
    main(sys.argv[1])
