"""JSON-RPC 2.0: lines to requests, results to lines.

Sans-I/O, and the only place that reads JSON from outside: what it lets through can be
written again, has no key twice, no number that a double can't hold, no half character, and
is not nested deep enough to hurt anybody.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from jobd.errors import InvalidRequest, MethodNotFound, ParseError, RequestError

NESTING_MAX: Final = 128
BATCH_MAX: Final = 10_000  # requests; 4 million fit in a line of 8 MiB, each with an answer

# A double's largest has 309 digits; Python would take seconds over a megabyte of them.
_DIGITS_MAX: Final = 309

Id = str | int | float | None


class Request(NamedTuple):
    id: Id
    method: str
    params: dict[str, Any] | list[Any]  # absent: {}
    expects_reply: bool  # not a notification


class Fault(NamedTuple):
    """What stands in the place of a request, and what to answer."""

    id: Id
    error: RequestError


Message = Request | Fault | list[Request | Fault]


def parse(line: bytes) -> Message:
    """One line as a request, a fault, or a batch of both.  Never raises."""
    try:
        body = _loads(line)
    except ParseError as error:
        return Fault(None, error)
    if not isinstance(body, list):
        return _request(body)
    if not body:
        return Fault(None, InvalidRequest("Invalid Request"))
    if len(body) > BATCH_MAX:
        return Fault(None, InvalidRequest(f"Invalid Request: more than {BATCH_MAX} in a batch"))
    return [_request(entry) for entry in body]


def success(id: Id, result: Any) -> bytes:
    return _dumps({"jsonrpc": "2.0", "id": id, "result": result})


def failure(id: Id, error: RequestError) -> bytes:
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data or not isinstance(error, _PLAIN):
        body["data"] = {"type": error.type, **error.data}
    return _dumps({"jsonrpc": "2.0", "id": id, "error": body})


def notification(method: str, params: Any) -> bytes:
    return _dumps({"jsonrpc": "2.0", "method": method, "params": params})


def batch(replies: Iterable[bytes]) -> bytes:
    """The replies to the requests of a batch, as one line; at least one."""
    return b"[" + b",".join(reply[:-1] for reply in replies) + b"]\n"


# The errors of JSON-RPC itself read as they do in its specification.
_PLAIN: Final = (ParseError, InvalidRequest, MethodNotFound)


def _request(body: Any) -> Request | Fault:
    if not isinstance(body, dict):
        return Fault(None, InvalidRequest("Invalid Request"))
    id = body.get("id")
    if isinstance(id, bool | list | dict):
        why = "Invalid Request: id must be a string, a number or null"
        return Fault(None, InvalidRequest(why))
    method, params = body.get("method"), body.get("params", {})
    if not isinstance(method, str) or not isinstance(params, dict | list):
        return Fault(id, InvalidRequest("Invalid Request"))
    if body.get("jsonrpc") != "2.0":
        return Fault(id, InvalidRequest('Invalid Request: jsonrpc must be "2.0"'))
    return Request(id, method, params, "id" in body)


# JSON, strictly.


def encoded(value: Any) -> str:
    """Compact.  ValueError: no JSON value."""
    return _ENCODER.encode(value)


def _loads(line: bytes) -> Any:
    try:
        body = _DECODER.decode(line.decode())
    except UnicodeDecodeError as exc:
        raise ParseError(f"Parse error: byte {exc.start} is no UTF-8") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise ParseError("Parse error") from None
    # Either costs a walk through all of it, so only where the bytes say that it may be needed.
    if line.count(b"[") + line.count(b"{") > NESTING_MAX:
        _check_nesting(body)
    if b"\\ud" in line or b"\\uD" in line:
        _check_surrogates(body)
    return body


def _dumps(message: dict[str, Any]) -> bytes:
    """What the operating system said may hold half characters; nobody gets those from here."""
    return encoded(message).encode("utf-8", "replace") + b"\n"


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = set()
        for key, _ in pairs:
            if key in keys:
                raise ParseError(f"Parse error: key {key[:64]!a} occurs twice")
            keys.add(key)
    return found


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS_MAX + 1 or not math.isfinite(float(digits)):
        raise ParseError("Parse error: a number is beyond a double")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ParseError("Parse error: a number is beyond a double")
    return number


def _constant(name: str) -> Any:
    raise ParseError(f"Parse error: {name} is no JSON")


def _check_nesting(body: Any) -> None:
    level, depth = [body], 0
    while level := [value for value in level if isinstance(value, dict | list)]:
        depth += 1
        if depth > NESTING_MAX:
            raise _too_deep()
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
        ]


def _check_surrogates(body: Any) -> None:
    try:
        encoded(body).encode()
    except UnicodeEncodeError:
        raise ParseError("Parse error: half of a surrogate pair") from None


def _too_deep() -> ParseError:
    return ParseError(f"Parse error: nested deeper than {NESTING_MAX}")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_no_key_twice, parse_int=_integer, parse_float=_number,
    parse_constant=_constant,
)  # fmt: skip
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
