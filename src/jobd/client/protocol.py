"""One connection's bytes, both ways; does no I/O.

Requests become lines, lines become replies and notifications.  How long a lost daemon is
looked for again is `patience`'s, what a call says is `calls`'s.
"""

from __future__ import annotations

import json

from jobd.errors import REFUSALS, DaemonUnavailable, InvalidParams, PeerFault, RequestError

TYPE_CHECKING = False  # `typing` would be a third of what importing this costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class ConnectionLost(DaemonUnavailable):
    """It was there; whether it did what was last asked is not known."""


class Crowded(DaemonUnavailable):
    """It is there; more wait to be let in than it has room for, and nothing was asked."""


class Reply:
    """`error` is None where there is a `result`."""

    __slots__ = ("error", "id", "result")

    def __init__(self, id: int | None, result: Any, error: RequestError | None) -> None:
        self.id = id  # None: the daemon could not even read which request it answers
        self.result = result
        self.error = error


class Note:
    """A notification of a stream; `params["subscription"]` is the id of its request."""

    __slots__ = ("method", "params")

    def __init__(self, method: str, params: dict[str, Any]) -> None:
        self.method = method
        self.params = params


class Wire:
    """Numbers requests and cuts the answer into messages."""

    def __init__(self, socket: str) -> None:
        self._socket = socket  # named in errors
        self._number = 0
        self._pieces: list[bytes] = []  # of the line that has not ended

    def request(self, method: str, params: Mapping[str, Any]) -> tuple[int, bytes]:
        """The request's id and its line.  InvalidParams for what JSON cannot say."""
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        return self._number, encoded(message) + b"\n"

    def receive(self, chunk: bytes) -> list[Reply | Note]:
        """The messages that `chunk` completes.  Linear, however small the pieces.  PeerFault."""
        head, newline, rest = chunk.partition(b"\n")
        self._pieces.append(head)
        if not newline:
            return []
        lines = [b"".join(self._pieces), *rest.split(b"\n")]
        self._pieces = [lines.pop()]
        return [self._message(line) for line in lines if line.strip()]

    def _message(self, line: bytes) -> Reply | Note:
        try:
            message = json.loads(line)
            if "method" in message:
                return Note(message["method"], message["params"])
            if "error" in message:
                return Reply(message["id"], None, _refusal(message["error"]))
            return Reply(message["id"], message["result"], None)
        except (ValueError, TypeError, KeyError, RecursionError) as exc:
            raise PeerFault(f"what answers on {self._socket} is no jobd: {line[:60]!r}") from exc


def encoded(value: Any) -> bytes:
    """Compact JSON in UTF-8.  TypeError for an object that JSON has no word for."""
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except RecursionError:
        raise InvalidParams.of([("params", "nested too deeply for JSON")]) from None
    except ValueError as exc:  # NaN, an infinity, a cycle, a lone surrogate
        raise InvalidParams.of([("params", f"no JSON: {exc}")]) from exc


def _refusal(error: dict[str, Any]) -> RequestError:
    """The refusal as the class that the daemon raised; a code from the future as its root."""
    refusal = REFUSALS.get(error["code"], RequestError)(str(error["message"]))
    stated = error.get("data")
    if isinstance(stated, dict):
        refusal.data = {name: value for name, value in stated.items() if name != "type"}
    if type(refusal) is RequestError:
        refusal.data["code"] = error["code"]
    return refusal
