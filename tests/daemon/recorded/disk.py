"""A disk, as far as system calls tell: what of it is safe, and what a power cut could leave.

Pessimistic where POSIX leaves it open.  Of a file only what was written before the call of a sync
that returned is safe, and of everything since any page may have come down or not, each by itself.
A name is safe when its directory was synced; a synced file without a name is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from recorded.trace import Call, Event

PAGE_BYTES = 4096
SECTOR_BYTES = 512
STOP_BYTES = 128  # a write that stops half way stops at one of these

# The rest of the state directory is the keeper's.
WATCHED = {"state", "state/jobd-state", "state/lock", "state/journal"}

# Paths relative to the directory that the state directory is in; None: a directory.
Image = tuple[tuple[str, bytes | None], ...]


@dataclass(eq=False)
class Change:
    """To a file: bytes within one page, or its size if there are none."""

    at: int
    content: bytes | None
    done: bool = False

    def apply(self, to: bytearray) -> None:
        to.extend(bytes(max(0, self.at - len(to))))
        if self.content is None:
            del to[self.at :]
        else:
            to[self.at : self.at + len(self.content)] = self.content


@dataclass(eq=False)
class Node:
    is_directory: bool = False
    safe: bytes = b""
    now: bytes = b""
    pending: list[Change] = field(default_factory=list)

    def change(self, *changes: Change) -> None:
        self.pending += changes
        self.now = self._with(self.pending)

    def sync(self, before: list[Change]) -> None:
        self.safe = self._with(before)
        self.pending = [change for change in self.pending if change not in before]
        self.now = self._with(self.pending) if self.pending else self.safe

    def beginnings(self) -> Iterator[bytes]:
        """As if the disk had worked in order, and stopped."""
        for count, change in enumerate(self.pending):
            before = self._with(self.pending[:count])
            yield before
            size_bytes = len(change.content or b"")
            for stop in range(STOP_BYTES, size_bytes, max(STOP_BYTES, size_bytes // 8)):
                piece = bytearray(before)
                assert change.content is not None
                Change(change.at, change.content[:stop]).apply(piece)
                yield bytes(piece)

    def lost_pages(self) -> Iterator[bytes]:
        """All came down but one page, or one cut; of the size of before, of now, or up to there."""
        pages = {change.at // PAGE_BYTES for change in self.pending if change.content is not None}
        for page in sorted(pages):
            rest = [c for c in self.pending if c.content is None or c.at // PAGE_BYTES != page]
            left = self._with(rest)
            yield left
            least = min(len(self.now), len(self.safe))
            for size in (len(self.now), len(self.safe), max(least, page * PAGE_BYTES)):
                yield left[:size].ljust(size, b"\0")
        for cut in [change for change in self.pending if change.content is None]:
            yield self._with([change for change in self.pending if change is not cut])

    def lost_sectors(self) -> Iterator[bytes]:
        """All came down but one sector, which is as it was; beyond the old end: zeros."""
        old = self.safe.ljust(len(self.now), b"\0")
        for change in self.pending:
            if change.content is None:
                continue
            first = change.at - change.at % SECTOR_BYTES
            for at in range(first, change.at + len(change.content), SECTOR_BYTES):
                end = min(at + SECTOR_BYTES, len(self.now))
                yield self.now[:at] + old[at:end] + self.now[end:]

    def _with(self, changes: list[Change]) -> bytes:
        content = bytearray(self.safe)
        for change in changes:
            change.apply(content)
        return bytes(content)


@dataclass(eq=False)
class Naming:
    """Names that come, go or change together."""

    names: dict[str, Node | None]
    done: bool = False

    def is_in(self, directory: str) -> bool:
        return any(name.rpartition("/")[0] == directory for name in self.names)


class State(NamedTuple):
    how: str  # it came to be
    image: Image


class Disk:
    """The part of it that the journal's store works with, below `home`.

    `deaf` names a call that does nothing: a disk that lies.
    """

    def __init__(self, home: str, *, deaf: str = "") -> None:
        self.names: dict[str, Node] = {}
        self._home = home
        self._deaf = deaf
        self._safe_names: dict[str, Node] = {}
        self._pending: list[Naming] = []
        self._done_by: dict[Call, list[Change] | list[Naming]] = {}  # when it returns
        self._synced_by: dict[Call, list[Change] | list[Naming]] = {}

    def feed(self, event: Event) -> bool:
        """Whether a crash could now leave what it could not leave before, or the reverse."""
        call = event.call
        if call.failed:
            return False
        if event.what == "begin":
            return self._begin(call)
        for change in self._done_by.pop(call, ()):
            change.done = True
        synced = self._synced_by.pop(call, None)
        if synced is None or call.name == self._deaf:
            return False
        self._sync(call, synced)
        return True

    # Calls.

    def _begin(self, call: Call) -> bool:
        match call.name:
            case "write" | "pwrite64" | "writev" | "pwritev" | "ftruncate" | "fallocate":
                return self._begin_change(call)
            case "fsync" | "fdatasync":
                return self._begin_sync(call)
            case "openat" | "open" | "creat":
                return self._begin_open(call)
            case "mkdir" | "mkdirat":
                return self._begin_naming(call, {call.paths[0]: Node(is_directory=True)})
            case "unlink" | "unlinkat" | "rmdir":
                return self._begin_naming(call, {call.paths[0]: None})
            case "rename" | "renameat" | "renameat2":
                old, new = call.paths
                node = self.names.get(self._name(old) or "")
                return self._begin_naming(call, {old: None, new: node})
            case "truncate" | "link" | "linkat":
                assert not any(map(self._name, call.paths)), f"teach the disk {call.name}"
        return False

    def _begin_change(self, call: Call) -> bool:
        node = self.names.get(self._name(call.target) or "")
        if node is None or call.target.endswith("/lock"):
            return False  # what the lock says is only for people
        match call.name:
            case "write":
                at = len(node.now)
                pieces = list(_pages(at, call.written))
            case "ftruncate":
                pieces = [Change(int(call.numbers[1]), None)]
            case "fallocate":
                assert "FALLOC_FL_KEEP_SIZE" in call.numbers[1], "or the size would change"
                return False
            case _:
                raise AssertionError(f"teach the disk {call.name}")
        assert all(change.done for change in node.pending), "two writes to one file at a time"
        node.change(*pieces)
        self._done_by[call] = pieces
        return True

    def _begin_sync(self, call: Call) -> bool:
        name = self._name(call.target)
        if call.target == self._home:
            name = ""
        elif name is None or name not in self.names:
            return False
        if name == "" or self.names[name].is_directory:
            self._synced_by[call] = [n for n in self._pending if n.done and n.is_in(name)]
        else:
            self._synced_by[call] = [c for c in self.names[name].pending if c.done]
        return False

    def _begin_open(self, call: Call) -> bool:
        path = call.paths[0]
        name = self._name(path)
        if name is None:
            return False
        if name in self.names:
            assert "O_TRUNC" not in call.text, "teach the disk O_TRUNC"
            return False
        assert "O_CREAT" in call.text, "a file that the recording does not know"
        return self._begin_naming(call, {path: Node()})

    def _begin_naming(self, call: Call, paths: dict[str, Node | None]) -> bool:
        names = {name: node for path, node in paths.items() if (name := self._name(path))}
        if not names:
            return False
        naming = Naming(names)
        self._pending.append(naming)
        self._done_by[call] = [naming]
        _apply(naming, self.names)
        return True

    def _sync(self, call: Call, synced: list[Change] | list[Naming]) -> None:
        namings = [each for each in synced if isinstance(each, Naming)]
        for naming in namings:
            _apply(naming, self._safe_names)
        self._pending = [naming for naming in self._pending if naming not in namings]
        node = self.names.get(self._name(call.target) or "")
        if node is not None and not node.is_directory:
            node.sync([each for each in synced if isinstance(each, Change)])

    def _name(self, path: str) -> str | None:
        """If it is watched."""
        name = path.removeprefix(f"{self._home}/")
        return name if name in WATCHED or name.startswith("state/journal/") else None

    # Disks that a crash could leave.

    def whole(self) -> Image:
        """As everybody sees it."""
        return _image(self.names, {})

    def safe(self) -> Image:
        """What is there whatever happens."""
        return _image(self._safe_names, {node: node.safe for node in self._safe_names.values()})

    def settled(self) -> bool:
        """Whether that is all."""
        return not self._pending and not any(node.pending for node in self.names.values())

    def states(self) -> Iterator[State]:
        """Of a kill, and of a power cut, at this point."""
        yield State("killed", self.whole())
        yield State("nothing unsynced survives", self.safe())
        nothing = {node: node.safe for node in self.names.values()}
        yield State("names survive", _image(self.names, nothing))
        for node in self.names.values():
            for content in node.beginnings():
                yield State("a write stops", _image(self.names, {node: content}))
            for content in node.lost_pages():
                yield State("a page is lost", _image(self.names, {node: content}))
            for content in node.lost_sectors():
                yield State("a sector is lost", _image(self.names, {node: content}))
        for lost in [*([naming] for naming in self._pending), self._pending]:
            names = dict(self._safe_names)
            for naming in self._pending:
                if naming not in lost:
                    _apply(naming, names)
            yield State("a name is lost", _image(names, {}))
            synced = {node: node.safe for node in names.values()}
            yield State("a name is lost", _image(names, synced))


def _pages(at: int, content: bytes) -> Iterator[Change]:
    end = at + len(content)
    while at < end:
        size = min(PAGE_BYTES - at % PAGE_BYTES, end - at)
        yield Change(at, content[:size])
        content = content[size:]
        at += size


def _apply(naming: Naming, to: dict[str, Node]) -> None:
    for name, node in naming.names.items():
        if node is None:
            to.pop(name, None)
        else:
            to[name] = node


def _image(names: dict[str, Node], contents: dict[Node, bytes]) -> Image:
    """What can be reached by names; a file not among `contents` is as everybody sees it."""
    return tuple(
        (name, None if node.is_directory else contents.get(node, node.now))
        for name, node in sorted(names.items())
        if all(name[: slash.start()] in names for slash in re.finditer("/", name))
    )
