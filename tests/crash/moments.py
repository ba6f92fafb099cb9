"""When to kill, and what a kill hit: seen from the processes' descriptors and the journal's text.

Nothing here is asked of jobd: what it was doing is read off /proc and off its files.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

LOOK_S = 0.0003  # between two looks, so that looking leaves the cores to the daemon
JUST_STARTED_S = 0.005  # after a `started` was written
JUST_KEPT_S = 0.1  # after a job was said again
_STARTED = re.compile(rb'"type":"started","id":"\w+","at":([\d.]+)')
TAIL_BYTES = 512 << 10  # of the newest segments, that a kill is judged by


class Seen(NamedTuple):
    """By the last look before the kill."""

    serving: bool
    reading: str | None = None  # the segment that it had open to read


class Journal:
    """Its segments, as files."""

    def __init__(self, state_dir: Path) -> None:
        self.directory = state_dir / "journal"

    def names(self) -> list[str]:
        """Oldest first."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(n for n in os.listdir(self.directory) if n.endswith(".jsonl"))
        return []

    def size_bytes(self) -> int:
        return sum((self.directory / name).stat().st_size for name in self.names())

    def read_by(self, pid: int) -> str | None:
        """The segment that the process has open read-only."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    path = os.readlink(f"/proc/{pid}/fd/{fd}")
                    if path.startswith(f"{self.directory}/") and _read_only(pid, fd):
                        return path.rpartition("/")[2]
        return None

    def written(self) -> Iterator[bytes]:
        """What is appended from now on, piece by piece; an empty one where nothing was."""
        name = self.names()[-1]
        offset = (self.directory / name).stat().st_size
        while True:
            piece = self._from(name, offset)
            if not piece:
                newest = self.names()[-1]
                if newest != name:
                    # The old one grew no more once the new one existed: read it out first.
                    piece = self._from(name, offset)
                    name, offset = newest, -len(piece)
            offset += len(piece)
            yield piece

    def _from(self, name: str, offset: int) -> bytes:
        with contextlib.suppress(FileNotFoundError), open(self.directory / name, "rb") as file:
            file.seek(max(0, offset))
            return file.read()
        return b""

    def end(self) -> list[dict[str, Any]]:
        """The last records; what a kill cut short is left out."""
        text = b"".join(self._from(name, 0) for name in self.names()[-3:])[-TAIL_BYTES:]
        return list(_records(text))

    def based_in_oldest(self) -> set[str]:
        """The jobs that begin, or were last said whole, in the oldest segment."""
        text = self._from(self.names()[0], 0)
        return {r["id"] for r in _records(text) if r["type"] in ("submitted", "kept")}


def _read_only(pid: int, fd: str) -> bool:
    flags = Path(f"/proc/{pid}/fdinfo/{fd}").read_text().split("flags:")[1].split()[0]
    return int(flags, 8) & os.O_ACCMODE == os.O_RDONLY


def _records(text: bytes) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        with contextlib.suppress(ValueError):  # the first may be cut by us, the last by the kill
            yield from json.loads(line).get("records", ())


def watch(limit_s: float, look: Callable[[], bool], look_s: float = LOOK_S) -> bool:
    """Whether it came true in time; looked for as often as leaves others room."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if look():
            return True
        time.sleep(look_s)
    return False


def pause(for_s: float) -> None:
    """A random wait is part of what is tried."""
    end = time.monotonic() + for_s
    watch(for_s, lambda: time.monotonic() >= end)


def just_started(written: bytes) -> bool:
    """Whether the last start in it is so fresh that a kill can still come right after it."""
    starts = _STARTED.findall(written)
    return bool(starts) and time.time() - float(starts[-1]) <= JUST_STARTED_S / 2


def classify(journal: Journal, seen: Seen, killed_at: float) -> str:
    """What the kill of a daemon hit.  One class for each kill, the rarest that fits."""
    if not seen.serving:
        return "replay" if seen.reading else "before it serves"
    if seen.reading:
        return "compaction"
    recent = journal.end()
    again = {r["id"] for r in recent if r["type"] == "kept" and killed_at - r["at"] <= JUST_KEPT_S}
    if again & journal.based_in_oldest():
        return "compaction"  # said again, and what it replaces is still there
    started_at = max((r["at"] for r in recent if r["type"] == "started"), default=0.0)
    if 0 <= killed_at - started_at <= JUST_STARTED_S:
        return "started"
    return "random"


def keeper_of(state_dir: Path) -> int | None:
    """The pid of the process that keeps this state directory's jobs."""
    mark = f"JOBD_KEEPER={state_dir}".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if mark in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                return int(name)
    return None


def warm_of(state_dir: Path) -> int | None:
    """The pid of the process that callables are forked from."""
    keeper = keeper_of(state_dir)
    return next(iter(_warm_ones(_children(keeper))), None) if keeper is not None else None


def attempts_of(keeper: int) -> int:
    """How many it has under it."""
    children = _children(keeper)
    return len(children) - len(_warm_ones(children))


def _children(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return []


def _warm_ones(pids: list[str]) -> list[int]:
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path("/proc", pid, "cmdline").read_bytes().startswith(b"jobd: warm interpreter"):
                found.append(int(pid))
    return found
