"""JSON-RPC 2.0 on the wire: framing, ids, batches, notifications, errors."""

from __future__ import annotations

import json
import resource

import pytest
from outside.peer import Refused
from outside.waiting import until

covers = pytest.mark.covers

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def is_pong(answer, id=1):
    return answer["jsonrpc"] == "2.0" and answer["id"] == id and answer["result"]["name"] == "jobd"


@covers("error:-32700")
@pytest.mark.parametrize(
    "line",
    [b"{", b"nonsense", b'{"jsonrpc":"2.0","id":1', b"[1,", b"'a'", b'{"a":NaN}', b'{"a":1e400}',
     b"\xff\xfe", b'{"a":"\\ud800"}', b'{"a":1,"a":2}', b'{"a":' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_what_can_not_be_parsed_is_answered_with_id_null(peer, line):
    answer = peer.exchange(line)
    assert answer["jsonrpc"] == "2.0"
    assert answer["id"] is None
    assert answer["error"]["code"] == -32700
    assert is_pong(peer.exchange(json.dumps(PING).encode())), "the connection goes on"


@covers("error:-32600")
@pytest.mark.parametrize(
    ("line", "id"),
    [(b"1", None), (b'"a"', None), (b"null", None), (b"{}", None), (b"[]", None),
     (b'{"jsonrpc":"2.0","method":1,"params":"bar"}', None),
     (b'{"jsonrpc":"2.0","id":5,"method":1}', 5), (b'{"id":6,"method":"ping"}', 6),
     (b'{"jsonrpc":"1.0","id":"x","method":"ping"}', "x"),
     (b'{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}', None),
     (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', None),
     (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', None),
     (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":5}', 7),
     (b'{"jsonrpc":"2.0","id":8,"method":"ping","params":"x"}', 8)],
)  # fmt: skip
def test_what_is_no_request_is_invalid(peer, line, id):
    answer = peer.exchange(line)
    assert answer["error"]["code"] == -32600
    assert answer["id"] in (id, None)


@pytest.mark.parametrize("id", [1, "a", "", 1.5, -7, 2**53, "ü", 0])
def test_an_answer_has_the_id_of_its_request(peer, id):
    assert is_pong(peer.exchange(json.dumps({**PING, "id": id}).encode()), id)


def test_an_id_of_null_is_answered_with_null(peer):
    assert is_pong(peer.exchange(json.dumps({**PING, "id": None}).encode()), None)


def test_carriage_returns_and_blank_lines_are_ignored(peer):
    peer.write(b"\n\r\n  \n\n" + json.dumps(PING).encode() + b"\r\n\r\n")
    assert is_pong(json.loads(peer.line()))
    assert is_pong(peer.exchange(json.dumps(PING).encode()))


def test_a_line_may_come_in_pieces_and_several_at_once(peer):
    line = json.dumps(PING).encode() + b"\n"
    for position in range(len(line)):
        peer.write(line[position : position + 1])
    assert is_pong(json.loads(peer.line()))
    peer.write(line * 3)
    for _ in range(3):
        assert is_pong(json.loads(peer.line()))


def test_a_notification_is_done_and_not_answered(shared, peer):
    queue = "notified"
    body = {"jsonrpc": "2.0", "method": "submit", "params": {"command": ["/bin/true"],
                                                           "queue": queue}}  # fmt: skip
    peer.write(json.dumps(body).encode() + b"\n")
    peer.write(json.dumps({"jsonrpc": "2.0", "method": "nonsense"}).encode() + b"\n")
    assert is_pong(peer.exchange(json.dumps(PING).encode())), "the next answer is this one"
    until(lambda: shared.call("list", queue=queue)["jobs"])


def test_a_batch_is_answered_as_one_line(peer):
    batch = [
        PING, {"jsonrpc": "2.0", "method": "ping"}, 5, {**PING, "id": 2, "method": "nonsense"},
        {**PING, "id": 3},
    ]  # fmt: skip
    answers = peer.exchange(json.dumps(batch).encode())
    by_id = {answer["id"]: answer for answer in answers}
    assert len(answers) == 4
    assert is_pong(by_id[1])
    assert is_pong(by_id[3], 3)
    assert by_id[2]["error"]["code"] == -32601
    assert by_id[None]["error"]["code"] == -32600


def test_a_batch_of_notifications_is_not_answered(peer):
    note = {"jsonrpc": "2.0", "method": "ping"}
    peer.write(json.dumps([note, note]).encode() + b"\n")
    assert is_pong(peer.exchange(json.dumps(PING).encode()))


def test_answers_come_as_each_is_done(shared, peer):
    id = shared.submit(command=["/bin/true"], delay=3600)
    waits = peer.send("wait", {"ids": [id]})
    assert peer.call("ping")["name"] == "jobd"
    assert not peer.answered(waits)
    shared.call("cancel", id=id)
    assert peer.answer(waits)["jobs"][0]["status"] == "cancelled"


def test_300_waits_at_once_hold_nothing_up(shared, peer):
    id = shared.submit(command=["/bin/true"], delay=3600)
    waits = [peer.send("wait", {"ids": [id]}) for _ in range(300)]
    assert peer.call("ping")["name"] == "jobd"
    shared.call("cancel", id=id)
    for wait in waits:
        assert peer.answer(wait)["timed_out"] is False


def test_what_a_closed_connection_asked_for_is_still_stored(shared):
    with shared.peer() as peer:
        peer.send("submit", {"command": ["/bin/true"], "queue": "leaving"})
    until(lambda: shared.call("list", queue="leaving")["jobs"])


def test_one_who_ceased_to_send_still_gets_the_answers(shared):
    import socket

    gate = shared.gate()
    id = shared.submit(command=gate.command)
    with shared.peer() as peer:
        waits = peer.send("wait", {"ids": [id]})
        peer.socket.shutdown(socket.SHUT_WR)
        gate.open()
        assert peer.answer(waits)["jobs"][0]["status"] == "completed"
        assert peer.closed()


@covers("error:-32603")
def test_what_is_jobds_own_fault_is_an_internal_error_and_costs_one_answer(shared):
    """Here it may open no file any more."""
    id = shared.final(shared.sh("echo x"))["id"]
    limit = resource.prlimit(shared.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(shared.pid, resource.RLIMIT_NOFILE, (3, limit[1]))
    try:
        refused = shared.refusal("logs", id=id)
    finally:
        resource.prlimit(shared.pid, resource.RLIMIT_NOFILE, limit)
    assert refused.code == -32603
    assert "Traceback" not in refused.message
    assert shared.call("ping")["name"] == "jobd"


@covers("error:-32005", "field:request_id")
def test_what_comes_too_late_for_a_stopping_daemon_is_to_be_repeated(jobd):
    d = jobd()
    id = d.submit(command=["/bin/true"], delay=3600)
    with d.peer() as peer:
        waits = peer.send("wait", {"ids": [id]})
        d.call("ping")
        d.process.terminate()
        with pytest.raises(Refused) as refused:
            peer.answer(waits)
        assert (refused.value.code, refused.value.data["type"]) == (-32005, "draining")
    assert d.ended() == 0


@covers("error:-32602")
def test_an_error_has_a_type(shared):
    for method, params, type in (
        ("status", {"id": "zzzzzzzz"}, "not_found"), ("status", {}, "invalid_params"),
        ("submit", {"target": "os:system"}, "unauthorized"),
    ):  # fmt: skip
        assert shared.refusal(method, **params).data["type"] == type
