"""A connection to the daemon that speaks lines of JSON, and nothing of jobd's own."""

from __future__ import annotations

import json
import socket
import time
from collections import deque
from pathlib import Path
from typing import Any, Self

LIMIT_S = 30.0  # for what must happen; only a failing test waits so long


class Refused(Exception):
    """An error instead of a result."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.error = error
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: dict[str, Any] = error.get("data", {})

    @property
    def fields(self) -> set[str]:
        return {fault["field"] for fault in self.data["fields"]}


class Peer:
    def __init__(self, path: str | Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(LIMIT_S)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self._read = b""
        self._ids = 0
        self._answers: dict[Any, dict[str, Any]] = {}
        self._notes: deque[dict[str, Any]] = deque()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # As bytes.

    def write(self, content: bytes) -> None:
        self.socket.sendall(content)

    def line(self, within_s: float = LIMIT_S) -> bytes | None:
        """The next line; None where the daemon has closed."""
        deadline = time.monotonic() + within_s
        while b"\n" not in self._read:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionError:
                more = b""
            finally:
                self.socket.settimeout(LIMIT_S)
            if not more:
                return None
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line

    def closed(self) -> bool:
        """Whether the daemon closes this connection; what comes before that is dropped."""
        while self.line() is not None:
            pass
        return True

    def exchange(self, content: bytes) -> Any:
        """One line there, one line back."""
        self.write(content + b"\n")
        line = self.line()
        assert line is not None, "the connection was closed"
        return json.loads(line)

    # As JSON-RPC.

    def send(self, method: str, params: Any = None, id: Any = None) -> Any:
        """Without waiting; returns the id."""
        if id is None:
            self._ids += 1
            id = self._ids
        body = {"jsonrpc": "2.0", "id": id, "method": method}
        if params is not None:
            body["params"] = params
        self.write(json.dumps(body).encode() + b"\n")
        return id

    def answer(self, id: Any) -> Any:
        """The result.  Raises Refused."""
        while id not in self._answers:
            self._receive()
        answer = self._answers.pop(id)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    def answered(self, id: Any) -> bool:
        """By now, without waiting."""
        try:
            while id not in self._answers:
                self._receive(within_s=0.001)
        except TimeoutError:
            return False
        return True

    def call(self, method: str, /, **params: Any) -> Any:
        return self.answer(self.send(method, params))

    def refusal(self, method: str, /, **params: Any) -> Refused:
        try:
            result = self.call(method, **params)
        except Refused as refused:
            return refused
        raise AssertionError(f"{method} was not refused: {result}")

    def note(self, within_s: float = LIMIT_S) -> dict[str, Any]:
        """The params of the next notification."""
        while not self._notes:
            self._receive(within_s)
        params: dict[str, Any] = self._notes.popleft()["params"]
        return params

    def notes_so_far(self) -> list[dict[str, Any]]:
        """Those that came before the last answer, or since."""
        notes = [note["params"] for note in self._notes]
        self._notes.clear()
        return notes

    def _receive(self, within_s: float = LIMIT_S) -> None:
        line = self.line(within_s)
        assert line is not None, "the connection was closed"
        message = json.loads(line)
        if "method" in message:
            assert "id" not in message
            self._notes.append(message)
        else:
            self._answers[message["id"]] = message
