"""Reads what strace wrote, with `-f -y -xx`: system calls, each with its beginning and its end.

A call is printed on one line if nothing else was seen in between, else in two halves.  What it
does is done when it returns, and may in part be done from its beginning on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

CALLS = (
    "openat", "open", "creat", "write", "pwrite64", "writev", "pwritev", "fdatasync", "fsync",
    "sync_file_range", "ftruncate", "truncate", "fallocate", "rename", "renameat", "renameat2",
    "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "link", "linkat", "sendto", "sendmsg",
    "recvfrom", "recvmsg",
)  # fmt: skip

_LINE = re.compile(r"(\d+) +(.*)")
_WHOLE = re.compile(r"(\w+)\((.*)")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_UNFINISHED = "<unfinished ...>"
_RESULT = re.compile(r"\)\s+= (-?\d+|\?)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_DESCRIPTOR = re.compile(r"(-?\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>")


@dataclass(eq=False)
class Call:
    name: str
    text: str  # the arguments, as strace has them
    result: int | None = None  # None: the process ended in it

    @property
    def failed(self) -> bool:
        return self.result is not None and self.result < 0

    @property
    def strings(self) -> list[bytes]:
        found = _STRING.findall(self.text)
        assert not any(cut for _, cut in found), "strace was told to show all of it"
        return [_bytes(text) for text, _ in found]

    @property
    def written(self) -> bytes:
        """Of one buffer, as much as was taken; all of it if nobody knows."""
        (content,) = self.strings[:1]
        return content if self.result is None else content[: self.result]

    @property
    def target(self) -> str:
        """The file, directory or socket that the first argument, a descriptor, stands for."""
        found = _DESCRIPTOR.match(self.text)
        assert found is not None, self.text[:200]
        return _bytes(found[2]).decode()

    @property
    def paths(self) -> list[str]:
        """The arguments that are paths, absolute."""
        starts = [_bytes(text).decode() for _, text in _DESCRIPTOR.findall(self._arguments)]
        names = [name.decode() for name in self.strings]
        if not self.name.endswith(("at", "at2")):
            return names
        return [
            name if name.startswith("/") else f"{start}/{name}"
            for start, name in zip(starts, names, strict=False)
        ]

    @property
    def numbers(self) -> list[str]:
        """The arguments."""
        return [part.strip() for part in self._arguments.split(",")]

    @property
    def _arguments(self) -> str:
        return self.text.rpartition(")")[0]


class Event(NamedTuple):
    what: Literal["begin", "end"]
    call: Call


def read(path: Path) -> list[Event]:
    """All of them, in the order in which strace saw them."""
    events: list[Event] = []
    open_: dict[str, Call] = {}
    for pid, rest in _lines(path):
        resumed = _RESUMED.match(rest)
        if resumed is not None:
            call = open_.pop(pid)
            assert call.name == resumed[1]
            call.text += resumed[2]
        elif (whole := _WHOLE.match(rest)) is not None:
            call = Call(whole[1], whole[2])
            events.append(Event("begin", call))
            if _UNFINISHED in call.text:
                call.text = call.text.partition(_UNFINISHED)[0]
                if "= ?" not in rest:
                    open_[pid] = call
                continue
        else:
            continue  # a signal, or an end
        result = _RESULT.search(call.text)
        if result is not None and result[1] != "?":
            call.result = int(result[1])
            events.append(Event("end", call))
    return events


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    with open(path, encoding="ascii") as file:
        for line in file:
            found = _LINE.match(line)
            assert found is not None, line[:200]
            yield found[1], found[2]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
