"""What is refused on append, with which error, and what becomes of a batch that is taken: raw produce requests, Kafka judges."""
import gzip
import time

import pytest

from suite import batches, produce_answers as answers
from suite.batches import GZIP, SNAPPY, Batch, Record

NONE, UNKNOWN, CORRUPT, TOO_LARGE, INVALID_TIMESTAMP, INVALID_TXN_STATE = 0, -1, 2, 10, 32, 48
NOT_AUTHORIZED, UNSUPPORTED_COMPRESSION, INVALID_RECORD = 53, 76, 87
HOUR_MS = 3_600_000
NOW_MS = int(time.time() * 1000)
GOOD = Batch(NOW_MS)
TWO = GOOD.with_(records=(Record(b"a"), Record(b"b")))
KEYLESS = (Record(b"a"), Record(b"b", key=None), Record(b"c", key=None))
ZSTD_EMPTY = b"(\xb5/\xfd\x04\x00\x01\x00\x00\x99\xe9\xd8Q"

# name -> (batch, error code, whether the answer bears the log's start offset)
REFUSED = {
    "one record missing": (TWO.with_(count=3, last_offset_delta=2), INVALID_RECORD),
    "one record too many": (TWO.with_(count=1, last_offset_delta=0), INVALID_RECORD),
    "one missing, gzip": (TWO.with_(codec=GZIP, count=3, last_offset_delta=2), INVALID_RECORD),
    "one too many, gzip": (TWO.with_(codec=GZIP, count=1, last_offset_delta=0), INVALID_RECORD),
    "count against delta": (TWO.with_(count=3), INVALID_RECORD),
    "no records": (GOOD.with_(records=(), last_offset_delta=0), INVALID_RECORD),
    "count -1": (GOOD.with_(count=-1), INVALID_RECORD),
    "bytes behind": (TWO.with_(behind=b"abc"), INVALID_RECORD),
    "bytes behind, gzip": (TWO.with_(codec=GZIP, behind=b"abc"), INVALID_RECORD),
    "record too long": (GOOD.with_(records=(Record(length=30),)), INVALID_RECORD),
    "record too short": (GOOD.with_(records=(Record(length=5),)), INVALID_RECORD),
    "record length -1": (GOOD.with_(records=(Record(length=-1),)), INVALID_RECORD),
    "header that is not there": (GOOD.with_(records=(Record(header_count=1),)), INVALID_RECORD),
    "header count -1": (GOOD.with_(records=(Record(header_count=-1),)), INVALID_RECORD),
    "header without a name": (GOOD.with_(records=(Record(headers=((None, b"x"),)),)), INVALID_RECORD),
    "header without a name, gzip": (GOOD.with_(codec=GZIP, records=(Record(headers=((None, b"x"),)),)), INVALID_RECORD),
    "base offset 5": (GOOD.with_(base_offset=5), INVALID_RECORD),
    "a control batch": (GOOD.with_(flags=batches.CONTROL), INVALID_RECORD),
    "a transactional batch without a transactional id": (GOOD.with_(flags=batches.TRANSACTIONAL), NOT_AUTHORIZED),
    "producer without a sequence": (GOOD.with_(producer=(1, 0, -1)), INVALID_RECORD),
    "format 0": (GOOD.with_(magic=0), INVALID_RECORD),
    "format 1": (GOOD.with_(magic=1), INVALID_RECORD),
    "format 3": (GOOD.with_(magic=3), CORRUPT),
    "wrong CRC": (GOOD.with_(crc=1), CORRUPT),
    "length 10": (GOOD.with_(length=10), CORRUPT),
    "length 48": (GOOD.with_(length=48), CORRUPT),
    "length beyond the end": (GOOD.with_(length=1000), INVALID_RECORD),
}
# Kafka has no better word than UNKNOWN_SERVER_ERROR for what it cannot decompress; Tifo says INVALID_RECORD.
UNREADABLE = {
    "no gzip": GOOD.with_(codec=GZIP, payload=b"nonsense"),
    "gzip cut off": TWO.with_(codec=GZIP, payload=gzip.compress(Record().encode(0))[:-5]),
    "snappy that claims 2 GiB": GOOD.with_(codec=SNAPPY, payload=b"\xff\xff\xff\xff\x07\x00"),
    "codec 5": GOOD.with_(codec=5),
}


@pytest.fixture
def wire(target):
    with answers.connect(target) as connected:
        yield connected


@pytest.fixture
def topic(target, wire):
    def make(settings=None):
        name = target.new_name("append")
        wire.create_topic(name, settings or {})
        return name
    return make


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_same_error(wire, topic, name):
    batch, error = REFUSED[name]
    plain = topic()
    answer = wire.produce(plain, batch)
    assert (answer.error, answer.base_offset, answer.record_errors) == (error, -1, []), answer
    assert wire.fetch(plain).batches == []
    assert wire.produce(plain, GOOD).error == NONE


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_decompressed_is_refused(target, wire, topic, name):
    answer = wire.produce(topic(), UNREADABLE[name])
    assert answer.error == (UNKNOWN if target.name == "kafka" else INVALID_RECORD), answer


def test_sizes(wire, topic):
    small = topic({"max.message.bytes": "200"})
    assert wire.produce(small, GOOD.with_(records=(Record(b"x" * 300),))).error == TOO_LARGE
    packed = GOOD.with_(codec=GZIP, records=(Record(b"x" * 300),))
    assert wire.produce(small, packed).error == NONE
    unpacking = topic({"max.message.bytes": "200", "compression.type": "uncompressed"})
    assert wire.produce(unpacking, packed).error == TOO_LARGE


@pytest.mark.parametrize("sent_in", [batches.NO_CODEC, GZIP])
def test_records_without_a_key_are_named(wire, topic, sent_in):
    compacted = topic({"cleanup.policy": "compact"})
    answer = wire.produce(compacted, GOOD.with_(codec=sent_in, records=KEYLESS))
    words = f"Compacted topic cannot accept message without key in topic partition {compacted}-0"
    assert (answer.error, answer.record_errors) == (INVALID_RECORD, [(1, words), (2, words)])
    named = ", ".join(f"RecordError(batchIndex={at}, message='{words}')" for at in (1, 2))
    assert answer.message == ("One or more records have been rejected due to 2 record errors in total, and only showing "
                              f"the first three errors at most: [{named}]")
    assert wire.fetch(compacted).batches == []


@pytest.mark.parametrize("sent_in", [batches.NO_CODEC, GZIP])
def test_records_with_times_out_of_bounds_are_named(wire, topic, sent_in):
    records = (Record(), Record(timestamp_delta=2 * HOUR_MS), Record(timestamp_delta=-2 * HOUR_MS))
    answer = wire.produce(topic({"message.timestamp.before.max.ms": str(HOUR_MS)}), GOOD.with_(codec=sent_in, records=records))
    assert (answer.error, [at for at, _ in answer.record_errors]) == (INVALID_TIMESTAMP, [1, 2])
    assert answer.message == "One or more records have been rejected due to invalid timestamp"
    late = f"Timestamp {NOW_MS + 2 * HOUR_MS} of message with offset 1 is out of range. The timestamp should be within ["
    assert answer.record_errors[0][1].startswith(late)


@pytest.mark.parametrize("sent_in", [batches.NO_CODEC, GZIP])
def test_the_highest_time_is_the_records_own(wire, topic, sent_in):
    plain = topic()
    for wrong in (NOW_MS - 5, NOW_MS + 5, NOW_MS + 10 * HOUR_MS):
        assert wire.produce(plain, TWO.with_(codec=sent_in, max_timestamp=wrong)).error == NONE
    stored = wire.fetch(plain).batches
    assert [batch.max_timestamp for batch in stored] == [NOW_MS] * 3
    assert all(batch.crc_is_right for batch in stored)


def test_the_brokers_time(wire, topic):
    stamped = topic({"message.timestamp.type": "LogAppendTime"})
    answer = wire.produce(stamped, GOOD.with_(base_timestamp=5))
    stored = wire.fetch(stamped).batches[0]
    assert (answer.error, answer.log_append_time) == (NONE, stored.max_timestamp)
    assert (stored.flags, stored.base_timestamp, stored.crc_is_right) == (batches.LOG_APPEND_TIME, 5, True)
    claim = GOOD.with_(flags=batches.LOG_APPEND_TIME)
    refused = wire.produce(stamped, claim)
    assert (refused.error, [at for at, _ in refused.record_errors]) == (INVALID_TIMESTAMP, [0])
    plain = topic()
    assert wire.produce(plain, claim).error == NONE
    assert wire.fetch(plain).batches[0].flags == 0


@pytest.mark.parametrize("version", [3, 5, 6, 7])
def test_zstd_is_for_clients_that_know_it(wire, topic, version):
    """From version 7 on it is looked at; this one holds no record."""
    batch = GOOD.with_(codec=batches.ZSTD, payload=ZSTD_EMPTY)
    assert wire.produce(topic(), batch, version).error == (UNSUPPORTED_COMPRESSION if version < 7 else INVALID_RECORD)


@pytest.mark.parametrize("stored_in", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("sent_in", [batches.NO_CODEC, GZIP])
def test_recompression(wire, topic, sent_in, stored_in):
    name = topic({"compression.type": stored_in})
    producer_id, epoch = wire.init_producer_id()
    wire.produce(name, GOOD)
    records = tuple(Record(b"value" * 50, key=b"k%d" % at, timestamp_delta=at * 3 - 7) for at in range(10))
    batch = GOOD.with_(codec=sent_in, records=records, producer=(producer_id, epoch, 0))
    assert wire.produce(name, batch).base_offset == 1
    stored = wire.fetch(name).batches[1]
    codec = ["uncompressed", "gzip", "snappy", "lz4", "zstd"].index(stored_in)
    assert (stored.base_offset, stored.codec, stored.count, stored.last_offset_delta) == (1, codec, 10, 9)
    assert (stored.producer, stored.max_timestamp, stored.crc_is_right) == ((producer_id, epoch, 0), NOW_MS + 20, True)
    again = wire.produce(name, batch)
    assert (again.error, again.base_offset) == (NONE, 1)
    if codec == sent_in:
        assert stored.payload == batch.encode()[batches.HEADER_BYTES:]


def test_produce_version_0_is_advertised(wire):
    """librdkafka 2.0 and older look for it before they send anything, and never use it."""
    assert wire.api_versions()[0][0] == 0
