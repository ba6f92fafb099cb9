"""The output of one job as it grows, whatever happens to the connection meanwhile.  No I/O."""

from __future__ import annotations

from jobd.client.job import FINAL
from jobd.client.protocol import Note, Reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class Following:
    """Knows which streams are still open and where each goes on; each byte is told once.

    Say `connected` of each connection.  Whenever it is `unsure`, give it the job's document and
    send its `requests`; say `asked` of each.  Give every message to `chunk`.

    The daemon follows a job from attempt to attempt, but a named one only to its end.  What is
    taken up again names its attempt, so that none which came and went meanwhile is passed over,
    and is at its end not sure to be over.
    """

    def __init__(self, id: str, streams: tuple[str, ...], options: dict[str, Any]) -> None:
        self._open = {stream: _Stream(id, stream, options) for stream in streams}
        self._asked: dict[int, _Stream] = {}
        self._unsure: list[_Stream] = []

    def connected(self) -> None:
        """Nothing has been asked on this connection."""
        self._asked, self._unsure = {}, list(self._open.values())

    @property
    def over(self) -> bool:
        return not self._open

    @property
    def unsure(self) -> bool:
        """Only the job's document says what to ask next."""
        return bool(self._unsure)

    def requests(self, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Params of a `logs` for each stream that was unsure and goes on."""
        unsure, self._unsure = self._unsure, []
        for stream in unsure:
            params = stream.params(document)
            if params is None:
                del self._open[stream.name]
            else:
                yield params

    def asked(self, request: int, params: dict[str, Any]) -> None:
        self._asked[request] = self._open[params["stream"]]

    def chunk(self, message: Reply | Note) -> dict[str, Any] | None:
        """`{attempt, stream, data, offset, skipped}`, or None; raises a refusal that came."""
        if isinstance(message, Note):
            stream = self._asked.get(message.params["subscription"])
            return stream.progress(message.params) if stream else None
        if message.error is not None:
            raise message.error
        stream = self._asked.pop(message.id or 0, None)
        if stream is None:
            return None
        rest = stream.progress(message.result)
        if stream.ends():
            del self._open[stream.name]
        else:
            self._unsure.append(stream)
        return rest


class _Stream:
    __slots__ = ("_id", "_named", "_options", "_told_attempt", "_where", "name")

    def __init__(self, id: str, name: str, options: dict[str, Any]) -> None:
        self._id = id
        self._options = options
        self.name = name
        self._where = options  # at first as the caller said, then attempt and offset
        self._told_attempt: int | None = None  # all of the output up to this one was told
        self._named: int | None = None  # the attempt that was last asked for by name

    def params(self, document: dict[str, Any]) -> dict[str, Any] | None:
        """Of the `logs` to ask next; None: all was told."""
        where = self._where
        if self._told_attempt is None or "attempt" in self._options:
            self._told_attempt = 0
            if "attempt" not in self._options:  # the latest one, and those to come
                self._told_attempt = max(document["attempt"] - 1, 0)
        elif "attempt" in where:
            self._named = where["attempt"]
        elif document["attempt"] > self._told_attempt:
            self._named = self._told_attempt + 1
            where = {**where, "attempt": self._named}
        elif document["status"] in FINAL:
            return None
        return {"id": self._id, "stream": self.name, "follow": True, **where}

    def progress(self, said: dict[str, Any]) -> dict[str, Any] | None:
        attempt = said["attempt"]
        skipped = said.get("skipped", 0)
        if not (said["data"] or skipped) or attempt <= (self._told_attempt or 0):
            return None
        self._where = {"attempt": attempt, "offset": said["offset"]}
        return {"attempt": attempt, "stream": self.name, "data": said["data"],
                "offset": said["offset"], "skipped": skipped}  # fmt: skip

    def ends(self) -> bool:
        """Whether what was asked is over for good; else there may be another attempt."""
        if self._named is None:
            return True
        self._told_attempt, self._named, self._where = self._named, None, {}
        return False
