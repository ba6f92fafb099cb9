"""A piece of a job's output, as it goes from the files to whoever asked."""

from __future__ import annotations

from typing import Literal, NamedTuple

Stream = Literal["stdout", "stderr", "both"]


class Chunk(NamedTuple):
    """Cut where a character ends."""

    data: str
    offset: int | str  # where the next piece begins: bytes; for `both` an opaque string
    eof: bool  # nothing follows, now; of an attempt that is over: ever
    skipped: int  # bytes left out between the offset that was asked for and `data`
    lossy: bool  # some bytes were no UTF-8 and were replaced
