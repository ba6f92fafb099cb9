"""JSON-RPC 2.0 as values: what a line is, and how an answer reads."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.errors import Conflict, InvalidRequest, MethodNotFound, NotFound, ParseError
from jobd.rpc import jsonrpc
from jobd.rpc.jsonrpc import BATCH_MAX, NESTING_MAX, Fault, Request, parse


def request(**members):
    return json.dumps({"jsonrpc": "2.0", "method": "ping", "id": 1, **members}).encode()


@pytest.mark.parametrize("id", [1, -1, 1.5, "a", "", None, 0])
def test_any_string_number_or_null_is_an_id(id):
    assert parse(request(id=id)) == Request(id, "ping", {}, True)


@pytest.mark.parametrize("id", [True, [1], {"a": 1}])
def test_nothing_else_is_an_id_and_null_is_answered(id):
    fault = parse(request(id=id))
    assert isinstance(fault, Fault)
    assert fault.id is None
    assert fault.error.code == -32600


def test_a_request_without_an_id_is_a_notification():
    assert parse(b'{"jsonrpc":"2.0","method":"ping"}') == Request(None, "ping", {}, False)


@pytest.mark.parametrize("params", [1, "a", None, True, 1.5])
def test_params_are_an_object_or_an_array(params):
    fault = parse(request(params=params))
    assert (fault.id, fault.error.code) == (1, -32600)


@pytest.mark.parametrize("version", [None, 2.0, "1.0", "2"])
def test_the_version_must_be_the_one(version):
    fault = parse(request(jsonrpc=version))
    assert (fault.id, fault.error.code) == (1, -32600)
    assert "jsonrpc" in fault.error.message


UNREADABLE = {
    "bad syntax": b"{",
    "two values": b"{} {}",
    "a BOM": b"\xef\xbb\xbf{}",
    "no UTF-8": b'"\xff"',
    "an encoded surrogate": b'"\xed\xa0\x80"',
    "half a pair": b'"\\ud800"',
    "half a pair as a key": b'{"\\uDC00":1}',
    "NaN": b"NaN",
    "Infinity": b"[-Infinity]",
    "beyond a double": b"1e400",
    "beyond a double, negative": b"-1e400",
    "an integer beyond a double": b"1" * 310,
    "a long integer": b"1" * 5000,
    "a key twice": b'{"a":1,"a":1}',
    "a key twice, deep inside": b'[{"x":{"a":1,"b":2,"a":3}}]',
    "deep arrays": b"[" * (NESTING_MAX + 1) + b"]" * (NESTING_MAX + 1),
    "deep objects": b'{"a":' * (NESTING_MAX + 1) + b"1" + b"}" * (NESTING_MAX + 1),
    "a megabyte of brackets": b"[" * (1 << 20),
    "a control character": b'"\x01"',
    "a single quote": b"{'a': 1}",
}


@pytest.mark.parametrize("line", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_parsed_is_one_parse_error_with_id_null(line):
    started = time.monotonic()
    fault = parse(line)
    assert isinstance(fault, Fault)
    assert fault.id is None
    assert isinstance(fault.error, ParseError)
    assert time.monotonic() - started < 1


def test_the_largest_double_and_a_whole_pair_pass():
    line = request(params=[1.7976931348623157e308, 10**308, -5, "\U0001f600"])
    assert parse(line).params == [1.7976931348623157e308, 10**308, -5, "\U0001f600"]


def test_the_deepest_nesting_that_is_allowed_passes():
    inner = NESTING_MAX - 2  # the request and its params are two
    line = request(params=[0])[:-2]
    line = line.replace(b"[0", b"[" + b"[" * inner + b"7" + b"]" * inner) + b"]}"
    assert isinstance(parse(line), Request)
    assert isinstance(parse(line.replace(b"7", b"[7]")), Fault)


def test_a_batch_keeps_order_and_faults_stand_in_their_place():
    line = b"[" + request(id=1) + b",1," + request(id=2) + b"]"
    first, fault, second = parse(line)
    assert (first.id, second.id) == (1, 2)
    assert isinstance(fault.error, InvalidRequest)


def test_an_empty_batch_is_an_invalid_request():
    assert parse(b"[]").error.code == -32600


def test_a_batch_of_too_many_is_one_fault():
    fault = parse(b"[" + b"1," * BATCH_MAX + b"1]")
    assert isinstance(fault, Fault)
    assert str(BATCH_MAX) in fault.error.message


@given(st.binary(max_size=60))
def test_no_bytes_raise(line):
    parse(line)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=9))
def test_no_json_raises(body):
    parse(json.dumps(body).encode())


# Answers.


def test_an_answer_is_one_line_of_compact_utf_8():
    line = jsonrpc.success("é", {"a": "ü\n"})
    assert line == '{"jsonrpc":"2.0","id":"é","result":{"a":"ü\\n"}}\n'.encode()


def test_an_error_says_its_type_beside_what_it_knows():
    body = json.loads(jsonrpc.failure(7, NotFound("no job", candidates=["a"])))
    assert body["error"] == {
        "code": -32002, "message": "no job", "data": {"type": "not_found", "candidates": ["a"]},
    }  # fmt: skip
    assert json.loads(jsonrpc.failure(7, Conflict("no")))["error"]["data"] == {"type": "conflict"}


def test_errors_of_the_specification_read_as_there():
    for error in (ParseError("Parse error"), MethodNotFound("Method not found")):
        body = json.loads(jsonrpc.failure(None, error))["error"]
        assert body == {"code": error.code, "message": error.message}


def test_half_a_character_from_the_system_is_replaced():
    assert jsonrpc.success(1, "a\udcffb") == b'{"jsonrpc":"2.0","id":1,"result":"a?b"}\n'


def test_no_answer_holds_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        jsonrpc.success(1, float("nan"))
