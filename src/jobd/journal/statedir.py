"""Whose the state directory is, and which daemon has it.

A directory is jobd's if it bears the marker.  One that is neither empty nor marked is left as
it is, whoever asks: a mistyped `--state-dir` must not scatter files over somebody's home.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

from jobd.errors import ForeignState, JournalFailed, StateLocked
from jobd.journal.files import Files

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

MARKER: Final = "jobd-state"
LOCK: Final = "lock"
_SAYS: Final = b"This directory is jobd's. `jobd journal stats` tells what is in it.\n"


class StateDir:
    """A marked directory, locked for as long as this lives and is not released."""

    def __init__(self, path: Path, lock_fd: int) -> None:
        self.path = path
        self._lock_fd = lock_fd

    @classmethod
    def claim(cls, path: Path, files: Files, kept: int | None = None) -> StateDir:
        """Made, marked, locked.  ForeignState, and nothing touched; StateLocked; JournalFailed.

        `kept`: the lock's descriptor, as the image of this program before us had it.
        """
        try:
            _make(path, files)
            _refuse_foreign(path)
            _mark(path, files)
            return cls(path, _lock(path, kept))
        except OSError as exc:
            raise JournalFailed(f"{path}: can't be used as state directory: {exc}") from exc

    def sign(self) -> None:
        """The lock says who has it.  Not before the journal was found sound: until then nothing
        in the directory is changed.

        Written over what was there, all of one width: that needs no room, which a file that is
        emptied first gives away, and on a full disk does not get back.
        """
        os.lseek(self._lock_fd, 0, os.SEEK_SET)
        os.ftruncate(self._lock_fd, os.write(self._lock_fd, b"%-10d\n" % os.getpid()))

    def keep(self) -> int:
        """A descriptor with which the lock outlives `release`."""
        return os.dup(self._lock_fd)

    def release(self) -> None:
        """The lock goes with its descriptor.  The file stays: removing it would let in two."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def is_ours(path: Path) -> bool:
    return (path / MARKER).is_file()


def _make(path: Path, files: Files) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # another daemon, at the same instant
        path.mkdir(mode=0o700)
    files.sync_directory(path.parent)


def _refuse_foreign(path: Path) -> None:
    if not path.is_dir():
        raise ForeignState(f"{path} is no directory; choose another state_dir")
    if sys.platform != "win32":
        about = path.stat()
        if about.st_uid != os.geteuid():
            raise ForeignState(
                f"{path} belongs to uid {about.st_uid}, not to uid {os.geteuid()}; "
                "run as its owner or choose another state_dir"
            )
        if about.st_mode & 0o022:
            raise ForeignState(
                f"others can write to {path}; say `chmod go-w {path}` or choose another state_dir"
            )
    if not is_ours(path) and any(path.iterdir()):
        raise ForeignState(
            f"{path} is not empty and not jobd's ({MARKER} is missing); choose another state_dir"
        )


def _mark(path: Path, files: Files) -> None:
    """The marker is the first thing in the directory, or a crash would leave it foreign."""
    try:
        fd = files.create(path / MARKER)
    except FileExistsError:
        return
    try:
        files.write(fd, memoryview(_SAYS))
        files.sync(fd)
    finally:
        files.close(fd)
    files.sync_directory(path)


def _lock(path: Path, kept: int | None) -> int:
    """A descriptor that holds the lock; no child inherits it (PEP 446)."""
    fd = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    if kept is not None:
        if os.path.samestat(os.fstat(kept), os.fstat(fd)):
            fd, kept = kept, fd  # and to lock it once more changes nothing
        os.close(kept)
    try:
        if sys.platform == "win32":
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # as flock says it, and as Windows does
        by = _holder(fd)
        os.close(fd)
        raise StateLocked(f"{path} is in use by {by}; stop that one first") from None
    return fd


def _holder(fd: int) -> str:
    """As far as is known: on Windows nobody else may read what is locked."""
    said = b"" if sys.platform == "win32" else os.read(fd, 20)
    return f"the process with pid {said.decode('ascii').strip()}" if said else "another process"
