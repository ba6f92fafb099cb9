"""Log files that rotate themselves, and never stop the daemon.

A line that can't be written is counted, and told of when writing works again.  No watch is
read here: every line comes with its instant.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from jobd import instants
from jobd.errors import LogUnusable

# What would let one line pass for two, or a terminal show something else than what is there:
# control characters, line and paragraph separators, and marks that turn the direction of text.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

# The lines of one batch share their instant.
rfc3339 = functools.lru_cache(maxsize=16)(instants.rfc3339)

# Made once: `json.dumps` would make one for each line.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=repr)

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """When a file is put aside, and how many of those are kept."""

    size_bytes: int  # before it grows beyond this
    daily: bool = True  # and when a day has ended, by UTC
    keep: int = 14


class LogFile:
    """One file that lines are added to.  `told` hears of trouble, once, and of its end."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        rotation: Rotation,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        """LogUnusable if it can't be opened: nobody should learn that from an empty log."""
        self.path, self.rotation, self._told = os.path.abspath(path), rotation, told
        self._lost = 0  # lines, since writing last worked
        self._day = ""  # of what is in the file
        self._stuck = False  # rotating did not work last time, and that was told
        self._fd: int | None = None
        try:
            self._open()
        except OSError as exc:
            raise LogUnusable(self.path, exc) from exc

    def write(self, lines: bytes, at: float) -> None:
        """Adds whole lines, rotating first if it is time.  Never raises for the disk's sake."""
        try:
            if self._fd is None:
                self._open()
            if self._is_due(len(lines), at):
                self._rotate()
            self._append(lines)
        except OSError as exc:
            if not self._lost:
                self._told(f"{self.path}: {exc.strerror}; its lines are lost until that is mended")
            self._lost += lines.count(b"\n")
            return
        self._day = max(self._day, rfc3339(at)[:10])
        if self._lost:
            lost, self._lost = self._lost, 0
            self._told(f"{self.path}: works again; {lost} lines were lost")

    def reopen(self) -> None:
        """After somebody moved it away: the next line goes where `path` now leads."""
        self.close()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> None:
        # What jobs were told is nobody else's to read.
        self._fd = os.open(self.path, _FLAGS, 0o600)
        status = os.fstat(self._fd)
        self._size = status.st_size
        # Of a file that was there already, the day of its last line.
        self._day = rfc3339(status.st_mtime)[:10] if status.st_size else ""
        # A crash may have cut that line short; the next must not be glued to it.
        os.lseek(self._fd, max(0, self._size - 1), os.SEEK_SET)
        self._torn = os.read(self._fd, 1) not in {b"", b"\n"}

    def _append(self, lines: bytes) -> None:
        assert self._fd is not None
        rest = memoryview(b"\n" + lines if self._torn else lines)
        while rest:
            written = os.write(self._fd, rest)
            self._size += written
            rest = rest[written:]
            # Should the rest fail, the file ends within a line.
            self._torn = bool(rest)

    def _is_due(self, more_bytes: int, at: float) -> bool:
        if not self._size:
            return False
        too_old = self.rotation.daily and rfc3339(at)[:10] > self._day  # never back, as clocks may
        return too_old or self._size + more_bytes > self.rotation.size_bytes

    def _rotate(self) -> None:
        """What can't be put aside is added to: better a log too large than one with holes."""
        self.close()
        try:
            os.rename(self.path, self._aside())
            self._prune()
            self._stuck = False
        except OSError as exc:
            if not self._stuck:
                self._told(f"{self.path}: {exc.strerror}; it can't be rotated")
            self._stuck = True
        self._open()

    def _aside(self) -> str:
        """A name that is free: `NAME.2026-11-21`, then `.1`, `.2`, … of that day."""
        dated = f"{self.path}.{self._day}"
        taken = [number for day, number, _ in self._put_aside() if day == self._day]
        return f"{dated}.{max(taken) + 1}" if taken else dated

    def _prune(self) -> None:
        for _, _, path in self._put_aside()[: -self.rotation.keep or None]:
            os.unlink(path)

    def _put_aside(self) -> list[tuple[str, int, str]]:
        """(day, number, path) of the files put aside, oldest first; others' are not seen."""
        directory, name = os.path.split(self.path)
        form = re.compile(re.escape(name) + r"\.(\d{4}-\d\d-\d\d)(?:\.(\d+))?", re.ASCII)
        found = map(form.fullmatch, os.listdir(directory))
        return sorted(
            (match[1], int(match[2] or 0), os.path.join(directory, match[0]))
            for match in found
            if match
        )


class LogFileHandler(logging.Handler):
    """The daemon's own log (`jobd.log`), in one of the two forms."""

    def __init__(self, file: LogFile, *, as_json: bool) -> None:
        super().__init__()
        self.file = file
        self.as_json = as_json

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = _as_json(record) if self.as_json else _as_text(record)
        except Exception:  # noqa: BLE001 a log call with a fault must not stop what it tells of
            self.handleError(record)
            return
        self.file.write(f"{line}\n".encode(errors="backslashreplace"), record.created)

    def close(self) -> None:
        self.file.close()
        super().close()


def compact(value: Any) -> str:
    """JSON on one line, with nothing in it that is not shown."""
    return printable(_ENCODER.encode(value))


def printable(text: str) -> str:
    r"""With `\u001b` and the like for each character that is not shown."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def text_line(at: float, level: str, logger: str, message: str) -> str:
    """`[2024-11-12 15:45:00] jobd.INFO: message`"""
    return f"[{rfc3339(at)[:19].replace('T', ' ')}] {logger}.{level}: {message}"


def _as_text(record: logging.LogRecord) -> str:
    line = text_line(record.created, record.levelname, record.name, printable(record.getMessage()))
    return "\n".join([line, *(f"    {printable(more)}" for more in _trace(record))])


def _as_json(record: logging.LogRecord) -> str:
    entry = {
        "timestamp": rfc3339(record.created),
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage(),
    }
    trace = list(_trace(record))
    return compact(entry | ({"traceback": "\n".join(trace)} if trace else {}))


def _trace(record: logging.LogRecord) -> Iterable[str]:
    if not record.exc_info or record.exc_info[0] is None:
        return ()
    return "".join(traceback.format_exception(*record.exc_info)).rstrip().split("\n")
