"""Whatever a peer sends, it gets an error or a closed connection, and others notice nothing."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time

import pytest
from outside.peer import Peer
from outside.waiting import until

covers = pytest.mark.covers

METHODS = [
    "submit", "submit_many", "status", "list", "cancel", "retry", "remove", "wait", "logs",
    "events", "unsubscribe", "stats", "ping", "reload", "drain", "shutdown", "update", "nonsense",
]  # fmt: skip
# Never sent to these in a form that they could take.
MEEK = {"drain", "shutdown", "reload", "stats", "ping", "events", "list"}

JUNK = [
    b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"9" * 5000, b"true", b'"\\ud800"',
    b'"\\udfff x"', b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 50_000, b'"',
    b"\x00", b"\xff\xfe", b'{"a":1,"a":2}', b"01", b"1.", b"+1", b".5", b"'x'", b"undefined",
    b'"\x01"', b'"\\x"', b"[1,]", b'{"a":1,}', b"{a:1}", b"--1", b"1e", b"/* */", b'"\\u12"',
]  # fmt: skip


@pytest.fixture(scope="module")
def victim():
    """A daemon of this module's own, and a bystander who must be answered throughout."""
    from outside.installation import Installation
    from outside.jobs import JOBS

    d = Installation()
    d.module(JOBS)
    d.start()
    yield d
    d.close()


@pytest.fixture
def watched(victim):
    """Meanwhile somebody else submits and pings: each answer in time, nothing closed."""
    pid = victim.call("ping")["pid"]
    bystander = Bystander(victim)
    yield victim
    bystander.stop()
    assert bystander.answers > 0
    assert bystander.slowest_s < 10
    assert victim.call("ping")["pid"] == pid
    assert victim.process.poll() is None
    assert not any("Traceback" in line for line in victim.log("jobd.log"))


class Bystander:
    def __init__(self, d):
        self.d, self.answers, self.slowest_s, self.failure = d, 0, 0.0, None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            with self.d.peer() as peer:
                while not self._stopped.is_set() or not self.answers:
                    began = time.monotonic()
                    id = peer.call("submit", command=["/bin/true"], delay=3600)["id"]
                    assert peer.call("cancel", id=id)["status"] == "cancelled"
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                    self.answers += 1
        except BaseException as failure:
            self.failure = failure

    def stop(self):
        self._stopped.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure


def answered(peer):
    """The next line, parsed; None where the connection was closed."""
    line = peer.line()
    return None if line is None else json.loads(line)


@covers("error:-32700")
def test_malformed_json_in_any_place_of_any_method(watched):
    for method in METHODS:
        with watched.peer() as peer:
            for junk in JUNK:
                body = b'{"jsonrpc":"2.0","id":1,"method":"%s","params":{"id":%s}}'
                peer.write(body % (method.encode(), junk) + b"\n")
                answer = answered(peer)
                assert answer is not None
                assert "error" in answer or junk == b"true", (method, junk[:40], answer)
                assert "result" not in answer, (method, junk[:40])
            assert peer.call("ping")["name"] == "jobd"


VALUES = [
    None, True, False, 0, -1, 1.5, 2**63, 2**70, -(2**70), 1e308, "", "x" * 5000, "\0", "a\0b", "=",
    "ü", "\u202e", "../../etc/passwd", [], {}, [[]], [None], {"": None}, {"id": {"id": {}}},
    ["x"] * 3000, {"a": "b" * 5000},
]  # fmt: skip
PARAMS = {
    "submit": ["target", "command", "method", "args", "kwargs", "queue", "priority", "delay",
               "run_at", "retry_attempts", "backoff", "timeout", "stop_signal", "request_id",
               "label",
               "tags", "env", "cwd"],
    "submit_many": ["jobs"], "status": ["id"], "cancel": ["id", "force"], "retry": ["id", "delay"],
    "remove": ["id"], "wait": ["ids", "timeout", "any"],
    "logs": ["id", "attempt", "stream", "offset", "tail", "limit", "follow"],
    "list": ["status", "queue", "tag", "target", "limit", "cursor"],
    "events": ["status", "queue", "id", "since"], "unsubscribe": ["subscription"],
    "drain": ["timeout", "off"], "shutdown": ["drain"],
}  # fmt: skip


@covers("error:-32602")
@pytest.mark.parametrize("method", [*PARAMS])
def test_every_kind_of_value_in_every_parameter(watched, method):
    """An error that is no internal one, or a result; never silence."""
    with watched.peer() as peer:
        for name in PARAMS[method]:
            for value in VALUES:
                if method in ("drain", "shutdown") and value in (None, True, False, 0, 1.5, 1e308):
                    continue
                params = {name: value}
                if method == "submit" and name not in ("target", "command"):
                    params |= {"target": "unlisted:f"}
                if method in ("logs", "wait", "cancel", "retry") and name not in ("id", "ids"):
                    params |= {"ids": ["zzzz"]} if method == "wait" else {"id": "zzzz"}
                answer_id = peer.send(method, params)
                answer = None
                while answer is None or answer.get("id") != answer_id:
                    answer = answered(peer)
                    assert answer is not None, (method, params)
                code = answer.get("error", {}).get("code")
                assert code in (None, -32602, -32001, -32002), (method, str(params)[:80], answer)


@covers("error:-32600")
def test_ids_that_are_objects_duplicate_keys_and_strange_envelopes(watched):
    with watched.peer() as peer:
        for line in (
            b'{"jsonrpc":"2.0","id":{},"method":"ping"}',
            b'{"jsonrpc":"2.0","id":[],"method":"ping"}',
            b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
            b'{"jsonrpc":"2.0","method":"ping","id":1e400}',
            b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"shutdown"}',
            b'{"jsonrpc":2.0,"id":1,"method":"ping"}', b'{"id":1}', b"[[[[]]]]",
            b"[null]", b"\xef\xbb\xbf{}",
        ):  # fmt: skip
            peer.write(line + b"\n")
            answer = answered(peer)
            answer = answer[0] if isinstance(answer, list) else answer
            assert answer["error"]["code"] in (-32600, -32700), line


def test_a_megabyte_of_brackets(watched):
    for junk in (b"[" * (1 << 20), b"[" * (1 << 20) + b"]" * (1 << 20), b'{"a":' * 200_000):
        with watched.peer() as peer:
            peer.write(junk + b"\n")
            assert answered(peer)["error"]["code"] in (-32700, -32600)


@covers("config:daemon.max_request_bytes", "error:-32600")
def test_a_line_of_more_than_8_mib_is_refused_before_it_ends(watched):
    with watched.peer() as peer:
        try:
            for _ in range(64):
                peer.write(b"x" * (1 << 20))
        except OSError:  # closed in the middle
            pass
        line = peer.line()
        if line is not None:
            answer = json.loads(line)
            assert (answer["id"], answer["error"]["code"]) == (None, -32600)
            assert peer.closed()


def test_half_a_line_and_then_nothing(watched):
    peers = [watched.peer() for _ in range(50)]
    for peer in peers:
        peer.write(b'{"jsonrpc":"2.0","id":1,"method":"submit","params":{"comm')
    watched.run(command=["/bin/true"])
    for peer in peers:
        peer.close()
    assert not any(job["command"] is None for job in watched.call("list", limit=10)["jobs"])


def test_one_who_does_not_read_is_disconnected(watched):
    """Its replies pass 16 MiB unsent."""
    id = watched.submit(target="jobs:echo", args=["x" * 100_000], delay=3600)
    with watched.peer() as peer:
        peer.socket.setblocking(False)
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "status", "params": {"id": id}})
        sent = 0
        deadline = time.monotonic() + 30
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() < deadline:
                try:
                    peer.socket.send(line.encode() + b"\n")
                    sent += 1
                except BlockingIOError:
                    time.sleep(0.002)
    assert sent * 100_000 > 16 << 20
    watched.call("cancel", id=id)


def test_many_requests_in_flight_are_all_answered(watched):
    with watched.peer() as peer:
        ids = []
        writer = threading.Thread(
            target=lambda: ids.extend(peer.send("ping", id=f"p{n}") for n in range(3000))
        )
        writer.start()
        for n in range(3000):
            assert peer.answer(f"p{n}")["name"] == "jobd"
        writer.join()


def test_a_thousand_connections(victim):
    """Refused or served, each of them; somebody who was there before is served all along."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 4096) if hard != resource.RLIM_INFINITY else 4096
    if wanted < 1100:
        pytest.skip(f"only {wanted} descriptors are to be had")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    peers: list[Peer] = []
    try:
        with victim.peer() as early:
            served = 0
            for _ in range(1000):
                peers.append(victim.peer())
            for peer in peers:
                try:
                    peer.send("ping", id="x")
                except OSError:
                    continue
            for peer in peers:
                line = peer.line()
                served += line is not None and b'"jobd"' in line
            assert served > 100
            assert early.call("ping")["name"] == "jobd"
            id = early.call("submit", command=["/bin/true"])["id"]
            assert early.call("wait", ids=[id])["jobs"][0]["status"] == "completed"
    finally:
        for peer in peers:
            peer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    until(lambda: victim.call("ping"))
    assert victim.run(command=["/bin/true"])["status"] == "completed"


def test_connections_that_come_and_go_at_once(watched):
    for _ in range(300):
        with socket.socket(socket.AF_UNIX) as gone:
            gone.connect(str(watched.socket))
    for _ in range(100):
        peer = watched.peer()
        peer.write(b'{"jsonrpc":"2.0","id":1,"method":"stats"}\n')
        peer.close()
    assert watched.run(command=["/bin/true"])["status"] == "completed"


def test_a_batch_of_everything_bad_is_answered_one_by_one(watched):
    with watched.peer() as peer:
        entries = [1, None, {}, [], "x", {"jsonrpc": "2.0", "id": 9, "method": "status",
                                         "params": {"id": {}}}]  # fmt: skip
        answers = peer.exchange(json.dumps(entries).encode())
        assert len(answers) == len(entries)
        assert all("error" in answer for answer in answers)


def test_bad_utf_8_and_binary_noise(watched):
    import random

    noise = random.Random(3)
    for _ in range(30):
        with watched.peer() as peer:
            peer.write(noise.randbytes(2000).replace(b"\n", b"") + b"\n")
            answer = answered(peer)
            assert answer["error"]["code"] == -32700
