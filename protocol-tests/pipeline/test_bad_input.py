"""Bad input, tried as a new user would: each a clear error, the process lives, nothing accepted is lost."""

import http.client
import json
import os
import random
import socket
import subprocess

import pytest

from rig import Tifo, read_topic
from test_main_job import post, tap

SEED = 20261122


@pytest.fixture(scope="module")
def tifo(binary, tmp_path_factory):
    process = Tifo(binary, tmp_path_factory.mktemp("bad-input") / "data").start()
    yield process
    assert process.alive(), process.log()
    process.close()


@pytest.fixture(autouse=True)
def lives_and_keeps(request):
    """After each case on the running process a good tap is still taken and found in the log."""
    yield
    if "tifo" in request.fixturenames:
        tifo = request.getfixturevalue("tifo")
        name = f"after-{request.node.name}"
        assert post(tifo.http + "", [tap(name)])
        assert committed(tifo, tap(name + "-committed"))[0] == 200


def call(tifo, body, stream="emoji", content_type="application/json", ack="committed", method="POST"):
    connection = http.client.HTTPConnection(tifo.ready["http"], timeout=20)
    headers = {"content-type": content_type} if content_type else {}
    connection.request(method, f"/v1/streams/{stream}/events?ack={ack}", body=body, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.getheader("content-type"), answer.read()


def committed(tifo, event):
    return call(tifo, json.dumps(event).encode())


def problem(answer, status):
    """The JSON problem (RFC 9457) of an answer."""
    assert answer[0] == status, answer
    assert answer[1] == "application/problem+json"
    found = json.loads(answer[2])
    assert found["status"] == status and found["title"] and found["detail"]
    return found


def test_broken_json(tifo):
    assert "line 1" in problem(call(tifo, b'{"user_id": "u1", '), 400)["detail"]


def test_a_missing_field_is_named(tifo):
    event = tap("m1")
    del event["channel_id"]
    found = problem(committed(tifo, event), 400)
    assert "channel_id" in found["detail"] and found["field"] == "channel_id"


def test_a_field_of_a_wrong_type_is_named(tifo):
    event = tap("m1") | {"timestamp": {"is": "an object"}}
    assert "timestamp" in problem(committed(tifo, event), 400)["detail"]


def test_one_bad_event_of_many_refuses_all_and_says_which(tifo):
    lines = [json.dumps(tap(f"all-or-nothing-{n}")) for n in range(3)]
    lines[1] = '{"user_id": 5'
    found = problem(call(tifo, "\n".join(lines).encode(), content_type="application/x-ndjson"), 400)
    assert found["index"] == 1
    stored = {record.json()["message_id"] for record in read_topic(tifo.ready["kafka"], "emoji")}
    assert not any(name.startswith("all-or-nothing") for name in stored)


def test_a_body_of_100_mb(tifo):
    size = 100_000_000
    with socket.create_connection(address(tifo.ready["http"]), 20) as line:
        line.sendall(b"POST /v1/streams/emoji/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                     + f"content-length: {size}\r\n\r\n".encode())
        try:
            for _ in range(size // 100_000):
                line.sendall(b"[" * 100_000)
        except OSError:
            pass  # It is right to hang up on the rest.
        line.settimeout(20)
        try:
            answer = line.recv(4096)
            assert answer == b"" or b" 413 " in answer.split(b"\r\n")[0], answer
        except ConnectionResetError:
            pass
    assert memory_mib(tifo) < 200


def test_a_body_of_100_mb_is_answered_to_a_client_that_waits(tifo):
    with socket.create_connection(address(tifo.ready["http"]), 20) as line:
        line.sendall(b"POST /v1/streams/emoji/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                     b"expect: 100-continue\r\ncontent-length: 100000000\r\n\r\n")
        assert b" 413 " in line.recv(4096).split(b"\r\n")[0]


def test_an_unknown_stream_names_those_there_are(tifo):
    found = problem(call(tifo, json.dumps(tap("m")).encode(), stream="nonsense"), 404)
    assert "nonsense" in found["detail"] and "emoji" in found["detail"]


@pytest.mark.parametrize("content_type", ["text/html", "application/xml", None])
def test_a_wrong_content_type(tifo, content_type):
    assert "application/json" in problem(call(tifo, b"{}", content_type=content_type), 415)["detail"]


def test_a_wrong_ack_and_a_wrong_method(tifo):
    assert "committed" in problem(call(tifo, b"{}", ack="maybe"), 400)["detail"]
    problem(call(tifo, b"", method="DELETE"), 405)


@pytest.mark.parametrize("port", ["kafka", "mqtt", "http"])
def test_random_bytes(tifo, port):
    rng = random.Random(SEED)
    for length in (1, 4, 7, 64, 1000, 20000):
        for _ in range(8):
            send_and_hang_up(address(tifo.ready[port]), rng.randbytes(length))
    for killer in (b"\x00\x00\x00\x0f\x00\x03\x00\x00\x00\x00\x00\x01\x00\x00\x7f\xff\xff\xff\x00", b"\x7f\xff\xff\xff" + b"\x00" * 40,
                   b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a/", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000):
        send_and_hang_up(address(tifo.ready[port]), killer)
    assert memory_mib(tifo) < 300


def test_a_silent_connection_to_each_port_harms_nobody(tifo):
    lines = [socket.create_connection(address(tifo.ready[port]), 5) for port in ("kafka", "http", "mqtt") for _ in range(20)]
    assert committed(tifo, tap("beside-silent-lines"))[0] == 200
    for line in lines:
        line.close()


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def send_and_hang_up(to, data):
    with socket.create_connection(to, 5) as line:
        line.settimeout(0.2)
        try:
            line.sendall(data)
            line.recv(1024)
        except OSError:
            pass


def memory_mib(tifo):
    with open(f"/proc/{tifo.process.pid}/status") as status:
        return next(int(row.split()[1]) // 1024 for row in status if row.startswith("VmRSS"))


# Starts that cannot work: one clear line on standard error, and a non-zero exit code.

def refused(binary, *flags, **options):
    done = subprocess.run([str(binary), "serve", *flags], capture_output=True, timeout=20, **options)
    assert done.returncode != 0 and not done.stdout, done
    said = [line for line in done.stderr.decode().splitlines() if line.startswith("tifo: ")]
    assert len(said) == 1, done.stderr.decode()
    assert "panicked" not in done.stderr.decode()
    return said[0]


@pytest.mark.parametrize("part", ["kafka", "http", "mqtt"])
def test_a_port_in_use(binary, tmp_path, part):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        flags = {"kafka": "0", "http": "0", "mqtt": "0"} | {part: port}
        said = refused(binary, "--data-dir", tmp_path / "data", *(word for p, a in flags.items() for word in (f"--{p}", a)))
    assert port in said and f"--{part}" in said


def test_a_read_only_data_directory(binary, tmp_path):
    mount(tmp_path, "ro")
    try:
        said = refused(binary, "--data-dir", tmp_path / "disk" / "data", "--kafka", "0", "--http", "0", "--mqtt", "0")
    finally:
        unmount(tmp_path)
    assert str(tmp_path / "disk" / "data") in said and "ead-only" in said


def test_a_data_directory_that_is_a_file(binary, tmp_path):
    (tmp_path / "data").write_text("I am a file")
    assert str(tmp_path / "data") in refused(binary, "--data-dir", tmp_path / "data", "--kafka", "0", "--http", "0", "--mqtt", "0")


def test_a_data_directory_that_another_process_uses(binary, tmp_path):
    first = Tifo(binary, tmp_path / "data").start()
    try:
        said = refused(binary, "--data-dir", tmp_path / "data", "--kafka", "0", "--http", "0", "--mqtt", "0")
    finally:
        first.close()
    assert str(tmp_path / "data") in said and "use" in said


@pytest.mark.parametrize("text, named", [
    ("this is [ not toml", "line 1"),
    ("[http]\nflush_evnts = 5", "flush_events"),
    ("[kafka]\nnum.partitions = 'many'", "num.partitions"),
    ("roles = ['brocker']", "brocker"),
])
def test_a_corrupt_settings_file(binary, tmp_path, text, named):
    path = tmp_path / "tifo.toml"
    path.write_text(text)
    said = refused(binary, "--config", path, "--ephemeral")
    assert named in said and str(path) in said


def test_a_settings_file_that_is_missing(binary, tmp_path):
    assert str(tmp_path / "none.toml") in refused(binary, "--config", tmp_path / "none.toml", "--ephemeral")


def test_a_full_disk_refuses_what_it_cannot_keep_and_loses_nothing(binary, tmp_path):
    mount(tmp_path, "size=6m")
    tifo = Tifo(binary, tmp_path / "disk" / "data")
    tifo.log_path = tmp_path / "tifo.log"
    kept = []
    try:
        tifo.start()
        for number in range(2000):
            batch = [tap(f"full-{number}-{index}") for index in range(100)]
            try:
                status = call(tifo, json.dumps(batch).encode())[0]
            except OSError:
                status = 0
            if status != 200:
                break
            kept.extend(event["message_id"] for event in batch)
        assert status == 503, f"the disk never filled, or the answer was {status}"
        assert tifo.alive()
        stored = {record.json()["message_id"] for record in read_topic(tifo.ready["kafka"], "emoji")}
        assert set(kept) <= stored
    finally:
        tifo.close()
        unmount(tmp_path)


def mount(tmp_path, option):
    (tmp_path / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", tmp_path / "disk"], check=True)


def unmount(tmp_path):
    subprocess.run(["umount", "-l", tmp_path / "disk"], check=True)
