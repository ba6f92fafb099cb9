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

    Send `requests()` on a fresh connection, and again after each loss; after each message,
    what `more()` has to ask.  Say `asked` of each.

    The daemon follows a job from attempt to attempt, but a named one only to its end.  So what
    was taken up in the middle of an attempt is at its end not sure to be over.
    """

    def __init__(self, id: str, streams: tuple[str, ...], options: dict[str, Any]) -> None:
        self._open = {stream: _Stream(id, stream, options) for stream in streams}
        self._asked: dict[int, _Stream] = {}
        self._unsure: list[_Stream] = []

    @property
    def over(self) -> bool:
        return not self._open

    @property
    def unsure(self) -> bool:
        """Only the job's document says whether there is more; give it to `more`."""
        return bool(self._unsure)

    def requests(self) -> Iterator[dict[str, Any]]:
        """Params of a `logs` for each open stream."""
        self._asked, self._unsure = {}, []
        for stream in self._open.values():
            yield stream.params()

    def more(self, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Params of a `logs` for each stream whose attempt was not the last."""
        unsure, self._unsure = self._unsure, []
        for stream in unsure:
            stream.told_attempt, stream.attempt = stream.attempt or 0, None
            if document["status"] in FINAL and document["attempt"] == stream.told_attempt:
                del self._open[stream.name]
            else:
                yield stream.params()

    def asked(self, request: int, params: dict[str, Any]) -> None:
        self._asked[request] = self._open[params["stream"]]

    def chunk(self, message: Reply | Note) -> dict[str, Any] | None:
        """`{attempt, stream, data, offset}`, or None; raises the refusal that came instead."""
        if isinstance(message, Note):
            stream = self._asked.get(message.params["subscription"])
            return stream.progress(message.params) if stream else None
        if message.error is not None:
            raise message.error
        stream = self._asked.pop(message.id or 0, None)
        if stream is None:
            return None
        if stream.resumed:
            self._unsure.append(stream)
        else:
            del self._open[stream.name]
        return stream.progress(message.result)


class _Stream:
    __slots__ = ("_id", "_options", "attempt", "name", "offset", "resumed", "told_attempt")

    def __init__(self, id: str, name: str, options: dict[str, Any]) -> None:
        self._id = id
        self._options = options
        self.name = name
        self.attempt: int | None = None  # where it goes on; None: at the beginning
        self.offset: int | str = 0
        self.told_attempt = 0  # all of the output up to this attempt was told
        self.resumed = False

    def params(self) -> dict[str, Any]:
        params = {"id": self._id, "stream": self.name, "follow": True}
        self.resumed = self.attempt is not None and "attempt" not in self._options
        if self.attempt is not None:
            return {**params, "attempt": self.attempt, "offset": self.offset}
        return params if self.told_attempt else {**params, **self._options}

    def progress(self, said: dict[str, Any]) -> dict[str, Any] | None:
        attempt = said["attempt"]
        if not said["data"] or attempt <= self.told_attempt:
            return None
        self.attempt, self.offset = attempt, said["offset"]
        return {
            "attempt": attempt, "stream": self.name, "data": said["data"], "offset": self.offset,
        }  # fmt: skip
