"""Bytes to messages and back, without a socket."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.client.protocol import Note, Reply, Wire, encoded
from jobd.errors import REFUSALS, InvalidParams, NotFound, PeerFault, RequestError

LINES = (
    b'{"jsonrpc":"2.0","id":1,"result":{"id":"x"}}\n'
    b"\r\n"
    b'{"jsonrpc":"2.0","method":"log","params":{"subscription":2,"data":"\xc3\xa4"}}\n'
    b'{"jsonrpc":"2.0","id":3,"error":{"code":-32002,"message":"no such job"}}\n'
)


def shown(messages):
    return [
        (m.method, m.params) if isinstance(m, Note) else (m.id, m.result, type(m.error))
        for m in messages
    ]


def test_a_request_is_one_line_with_an_id_of_its_own():
    wire = Wire("s")
    first, line = wire.request("submit", {"label": "ä\n"})
    second, _ = wire.request("ping", {})
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert json.loads(line) == {
        "jsonrpc": "2.0", "id": first, "method": "submit", "params": {"label": "ä\n"},
    }  # fmt: skip
    assert first != second


@given(st.lists(st.integers(0, len(LINES))))
def test_however_the_bytes_are_cut_the_messages_are_the_same(cuts):
    edges = [0, *sorted(cuts), len(LINES)]
    wire, messages = Wire("s"), []
    for start, end in itertools.pairwise(edges):
        messages += wire.receive(LINES[start:end])
    assert shown(messages) == [
        (1, {"id": "x"}, type(None)),
        ("log", {"subscription": 2, "data": "ä"}),
        (3, None, NotFound),
    ]


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_rebuilt_as_the_class_that_was_raised(code):
    data = {"type": REFUSALS[code].type, "candidates": ["a"], "message": "a key like any other"}
    line = encoded({"id": 1, "error": {"code": code, "message": "why", "data": data}}) + b"\n"
    [reply] = Wire("s").receive(line)
    assert isinstance(reply, Reply)
    assert type(reply.error) is REFUSALS[code]
    assert str(reply.error) == "why"
    assert reply.error.data == {"candidates": ["a"], "message": "a key like any other"}


def test_a_code_from_the_future_is_still_a_refusal():
    [reply] = Wire("s").receive(b'{"id":1,"error":{"code":-32099,"message":"new"}}\n')
    assert type(reply.error) is RequestError
    assert reply.error.data == {"code": -32099}


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1 400 Bad Request", b"[]", b"5", b"{}", b'{"id":1,"error":5}', b'"method"', b"\xff",
     b'{"id":1,"error":{"code":[],"message":"x"}}', b'{"method":"log"}', b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_json_rpc_is_a_fault_of_the_peer(line):
    with pytest.raises(PeerFault, match="no jobd"):
        Wire("s").receive(line + b"\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_json_cannot_say_is_refused_before_it_is_sent(value):
    with pytest.raises(InvalidParams):
        encoded({"args": [value]})


def test_endless_nesting_is_refused_before_it_is_sent():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidParams, match="nested"):
        encoded(deep)


def test_an_object_that_is_no_json_is_a_type_error():
    with pytest.raises(TypeError, match="object"):
        encoded({"args": [object()]})


def test_integers_of_any_size_arrive_unharmed():
    [reply] = Wire("s").receive(b'{"id":1,"result":' + b"9" * 30 + b"}\n")
    assert reply.result == 10**30 - 1
