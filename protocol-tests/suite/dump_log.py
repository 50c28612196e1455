"""Apache Kafka's dump-log on segment files, and what must hold of what it prints."""
import re
from dataclasses import dataclass, field

BATCH = re.compile(r"^baseOffset: (?P<base>\d+) lastOffset: (?P<last>\d+) count: (?P<count>\d+) "
                   r"baseSequence: (?P<sequence>-?\d+) .*?producerId: (?P<producer>-?\d+) .*?"
                   r"compresscodec: (?P<codec>\w+) .*?isvalid: (?P<valid>true|false)")
RECORD = re.compile(r"^\| offset: (?P<offset>\d+) CreateTime: (?P<time>\d+) .*?headerKeys: \[(?P<headers>.*?)\] "
                    r"key: (?P<key>.*?) payload: (?P<value>.*)$")
# What dump-log says, in words and not in its exit status, when an index does not fit its log.
COMPLAINTS = ("Mismatches in", "not found in the log", "timestamp mismatch", "out of order timestamp", "Found",
              "Non-consecutive offsets", "corrupt", "Exception", "invalid")
# librdkafka sends a batch as it is where compression does not make it smaller, as with one or two records.
TINY_BATCH = 3


@dataclass
class Batch:
    partition: int
    base: int
    last: int
    count: int
    sequence: int
    producer: int
    codec: str
    records: list = field(default_factory=list)


def read(tools, files_of_partition):
    """All batches with their records, of the .log files of each partition in turn."""
    batches = []
    files = [str(file) for files in files_of_partition for file in files]
    partition = -1
    for line in tools.run("dump-log", "--deep-iteration", "--print-data-log", "--files", ",".join(files)):
        check_no_complaint(line)
        if line.startswith("Dumping "):
            partition = int(line.split()[1].split("/")[-2].rsplit("-", 1)[1])
        elif found := BATCH.match(line):
            assert found["valid"] == "true", line
            batches.append(Batch(partition, int(found["base"]), int(found["last"]), int(found["count"]),
                                 int(found["sequence"]), int(found["producer"]), found["codec"].lower()))
        elif found := RECORD.match(line):
            batches[-1].records.append({
                "p": partition, "o": int(found["offset"]), "t": int(found["time"]), "k": found["key"],
                "v": found["value"], "h": found["headers"].split(",") if found["headers"] else []})
    return batches


def check_no_complaint(line):
    if not line.startswith("| "):
        assert not any(words in line for words in COMPLAINTS), line


def check_batches(batches, received, codec, idempotent):
    """The files hold exactly what the client received, in batches of the codec that it asked for."""
    on_disk = [record for batch in batches for record in batch.records]
    expected = [{**record, "h": [name for name, _ in record["h"]]} for record in received]
    assert on_disk == expected, first_difference(on_disk, expected)
    others = [batch for batch in batches if batch.codec != codec and not (batch.codec == "none" and batch.count <= TINY_BATCH)]
    assert not others, others[:3]
    assert all(len(b.records) == b.count == b.last - b.base + 1 for b in batches)
    if idempotent:
        check_sequences(batches)
    else:
        assert {batch.producer for batch in batches} == {-1}


def check_sequences(batches):
    """Each producer's sequence numbers go on without a hole on every partition."""
    expected = {}
    for batch in batches:
        assert batch.producer >= 0, batch
        assert batch.sequence == expected.get((batch.partition, batch.producer), 0), batch
        expected[batch.partition, batch.producer] = batch.sequence + batch.count


def first_difference(left, right):
    for a, b in zip(left, right):
        if a != b:
            return f"{a} != {b}"
    return f"{len(left)} records on disk, {len(right)} expected"
