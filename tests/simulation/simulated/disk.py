"""A disk whose power can fail: real files, and an account of what of them was synced.

It stands where the journal's system calls are (`jobd.journal.files`), so the real store and the
real recovery run on it.  A killed daemon leaves all that it wrote, a power cut only what was
synced and of the rest what chance decides: nothing, a beginning, holes, or all of it.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from jobd.journal.files import Files


@dataclass(eq=False)
class Node:
    """A file, whatever its name: what is safe, and what was done to it since."""

    safe: bytes = b""
    allocated: int = 0  # bytes, also beyond its size
    safe_allocated: int = 0
    done: list[tuple[int, bytes | None]] = field(default_factory=list)  # at; None: cut there

    def after_power_cut(self, dice: random.Random) -> bytes:
        content = bytearray(self.safe)
        for at, written in self.done:
            if written is None:
                if dice.random() < 0.5:
                    del content[at:]
                continue
            piece = bytearray(written)
            match dice.choice(["lost", "whole", "beginning", "holes", "size"]):
                case "lost":
                    continue
                case "beginning":
                    del piece[dice.randrange(len(piece)) :]
                case "holes":
                    start = dice.randrange(len(piece))
                    end = min(len(piece), start + dice.randint(1, 64))
                    piece[start:end] = bytes(end - start)
                case "size":  # the file has grown, and nothing of it came down
                    piece = bytearray(len(piece))
            content.extend(bytes(max(0, at - len(content))))
            content[at : at + len(piece)] = piece
        return bytes(content)


ROOMY = 1 << 40


class Disk(Files):
    def __init__(self, dice: random.Random, fuse: Callable[[], None]) -> None:
        self.free = ROOMY  # bytes that nobody has taken yet
        self.ailing = False  # some syncs fail
        self._dice = dice
        self._fuse = fuse  # called at every step; raises where this step is the last
        self._named: dict[Path, Node] = {}  # as everybody sees it
        self._safe_names: dict[Path, Node] = {}  # as the disk has it
        self._open: dict[int, Path] = {}

    def create(self, path: Path) -> int:
        self._fuse()
        fd = super().create(path)
        os.utime(fd, (0, 0))  # headers tell of it: the same seed gives the same bytes
        self._named[path] = Node()
        self._open[fd] = path
        return fd

    def reopen(self, path: Path) -> int:
        fd = super().reopen(path)
        self._open[fd] = path
        return fd

    def write(self, fd: int, content: memoryview) -> int:
        self._fuse()
        if self._dice.random() < 0.1:  # the system takes less than all
            content = content[: self._dice.randint(1, len(content))]
        at = os.fstat(fd).st_size
        try:
            self._allocate(self._node(fd), at + len(content))
        except OSError:
            assert b'"records"' not in bytes(content), "a commit lacked the room it was promised"
            raise
        taken = super().write(fd, content)
        self._node(fd).done.append((at, bytes(content[:taken])))
        self._fuse()
        return taken

    def sync(self, fd: int) -> None:
        self._fuse()
        if self.ailing and self._dice.random() < 0.3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        node = self._node(fd)
        node.safe = self._open[fd].read_bytes()
        node.safe_allocated = node.allocated
        node.done.clear()
        self._fuse()

    def sync_directory(self, path: Path) -> None:
        self._fuse()
        here = {name: node for name, node in self._named.items() if name.parent == path}
        gone = [n for n in self._safe_names if n.parent == path and n not in here]
        for name in gone:
            del self._safe_names[name]
        self._safe_names.update(here)
        self._fuse()

    def truncate(self, fd: int, size_bytes: int) -> None:
        self._fuse()
        if size_bytes < os.fstat(fd).st_size:
            self._node(fd).done.append((size_bytes, None))
        super().truncate(fd, size_bytes)
        node = self._node(fd)
        self.free += node.allocated - size_bytes
        node.allocated = size_bytes
        self._fuse()

    def reserve(self, fd: int, offset: int, size_bytes: int) -> None:
        self._fuse()
        self._allocate(self._node(fd), offset + size_bytes)
        self._fuse()

    def allocated_bytes(self, fd: int) -> int:
        return self._node(fd).allocated

    def free_bytes(self, fd: int) -> int:
        return self.free

    def close(self, fd: int) -> None:
        del self._open[fd]
        super().close(fd)

    def unlink(self, path: Path) -> None:
        self._fuse()
        super().unlink(path)
        self.free += self._named.pop(path).allocated
        self._fuse()

    # What a process never sees.

    def process_died(self) -> None:
        for fd in list(self._open):
            self.close(fd)

    def power_cut(self) -> None:
        """After the process died: the files are what a new boot finds."""
        found: dict[Path, Node] = {}
        for path in sorted({*self._named, *self._safe_names}):
            seen, safe = self._named.get(path), self._safe_names.get(path)
            node = seen if seen is safe else self._dice.choice([seen, safe])
            path.unlink(missing_ok=True)
            if node is not None:
                content = node.after_power_cut(self._dice)
                # What the last sync found allocated stays so, and the rest perhaps.
                allocated = self._dice.choice([node.allocated, node.safe_allocated])
                allocated = max(allocated, len(content))
                found[path] = Node(content, allocated, allocated)
                path.write_bytes(content)
        taken = sum(node.allocated for node in self._named.values())
        self.free = max(0, self.free + taken - sum(node.allocated for node in found.values()))
        self._named, self._safe_names = dict(found), dict(found)

    def _allocate(self, node: Node, end: int) -> None:
        lacks = max(0, end - node.allocated)
        if lacks > self.free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.free -= lacks
        node.allocated += lacks

    def _node(self, fd: int) -> Node:
        return self._named[self._open[fd]]
