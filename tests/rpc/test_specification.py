"""The examples of the JSON-RPC 2.0 specification, word for word, through a real socket."""

import json

import pytest

from jobd.errors import InvalidParams, MethodNotFound

# ruff: noqa: ISC004  lines of JSON, joined

pytestmark = pytest.mark.anyio


class Arithmetic:
    """The methods that the examples call."""

    def patient(self, request):
        return False

    async def answer(self, call, request):
        match request.method, request.params:
            case "subtract", [minuend, subtrahend]:
                return minuend - subtrahend
            case "subtract", {"minuend": minuend, "subtrahend": subtrahend}:
                return minuend - subtrahend
            case "sum", [*numbers]:
                return sum(numbers)
            case "get_data", _:
                return ["hello", 5]
            case (("update" | "notify_hello" | "notify_sum"), _):
                return None
            case "subtract", _:
                raise InvalidParams.of([("params", "two numbers")])
            case _:
                raise MethodNotFound("Method not found")


PARSE_ERROR = '{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}'
INVALID = '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}'

# (what the client sends, what it gets; None: nothing)
EXAMPLES = {
    "positional": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
        '{"jsonrpc": "2.0", "result": 19, "id": 1}',
    ),
    "positional, the other way": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
        '{"jsonrpc": "2.0", "result": -19, "id": 2}',
    ),
    "named": (
        '{"jsonrpc": "2.0", "method": "subtract", '
        '"params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
        '{"jsonrpc": "2.0", "result": 19, "id": 3}',
    ),
    "named, the other way": (
        '{"jsonrpc": "2.0", "method": "subtract", '
        '"params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
        '{"jsonrpc": "2.0", "result": 19, "id": 4}',
    ),
    "a notification": ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
    "a notification of no method": ('{"jsonrpc": "2.0", "method": "foobar"}', None),
    "no such method": (
        '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
        '{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":"1"}',
    ),
    "invalid JSON": ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', PARSE_ERROR),
    "invalid request": ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', INVALID),
    "a batch of invalid JSON": (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},'
        '{"jsonrpc": "2.0", "method"]',
        PARSE_ERROR,
    ),
    "an empty batch": ("[]", INVALID),
    "an invalid batch of one": ("[1]", f"[{INVALID}]"),
    "an invalid batch": ("[1,2,3]", f"[{INVALID},{INVALID},{INVALID}]"),
    "a batch": (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},'
        '{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},'
        '{"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},'
        '{"foo": "boo"},'
        '{"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},'
        '{"jsonrpc": "2.0", "method": "get_data", "id": "9"}]',
        '[{"jsonrpc": "2.0", "result": 7, "id": "1"},'
        '{"jsonrpc": "2.0", "result": 19, "id": "2"},'
        f"{INVALID},"
        '{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":"5"},'
        '{"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}]',
    ),
    "a batch of notifications": (
        '[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},'
        '{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]',
        None,
    ),
}
LAST = '{"jsonrpc": "2.0", "method": "get_data", "id": "last"}'


def in_any_order(answer):
    """The specification leaves the order of a batch's answers open."""
    if not isinstance(answer, list):
        return answer
    return sorted(json.dumps(entry, sort_keys=True) for entry in answer)


@pytest.mark.parametrize("example", EXAMPLES)
async def test_the_examples(example, serving):
    sent, expected = EXAMPLES[example]
    async with serving(Arithmetic()) as connect:
        client = await connect()
        client.write(sent.encode() + b"\n")
        if expected is not None:
            assert in_any_order(await client.line()) == in_any_order(json.loads(expected))
        # And nothing else is answered.
        client.write(LAST.encode() + b"\n")
        assert (await client.line())["id"] == "last"
