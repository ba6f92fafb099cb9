"""The files of one attempt, on the keeper's side: made before the spawn, one renamed after.

Whatever an end needs is allocated before there is anything to end, so that a full disk can
refuse an attempt but never lose its outcome.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys

from jobd.keeper.private import make_private
from jobd.keeper.protocol import (
    CALL,
    CLAIM,
    CLAIM_BYTES,
    OUTCOME,
    OUTCOME_BYTES,
    PART,
    RESULT,
    RESULT_BYTES,
    VERSION,
)

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NEW = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
_OWN = (CALL, CLAIM, OUTCOME, f"{OUTCOME}{PART}", RESULT, f"{RESULT}{PART}")
# What lacks for the moment, and will be there again without anybody mending the job.
_LACKING = (
    errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE,
)  # fmt: skip


class NoRoom(Exception):
    """Nothing was started, and nothing is left of it; it may be tried again."""


class Taken(Exception):
    """Somebody else has claimed the attempt: nothing was touched."""


def no_room(exc: OSError) -> bool:
    return exc.errno in _LACKING


def claim(directory: str) -> int:
    """The descriptor of the new claim.  Raises Taken, and OSError."""
    path, flags = f"{directory}/{CLAIM}", _NEW | os.O_EXCL
    try:
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            make_private(directory)
            return os.open(path, flags, 0o600)
    except FileExistsError:
        raise Taken from None


def prepare(directory: str, claim: int, call: str | None) -> None:
    """Room for claim and end is allocated; the child can read its call, if it has one."""
    os.posix_fallocate(claim, 0, CLAIM_BYTES)
    _reserve(f"{directory}/{OUTCOME}{PART}", OUTCOME_BYTES)
    if call is not None:
        _reserve(f"{directory}/{RESULT}{PART}", RESULT_BYTES)
        fd = _open_new(f"{directory}/{CALL}", os.O_TRUNC)
        try:
            write_all(fd, call.encode("utf-8", "surrogateescape"))
        finally:
            os.close(fd)


def open_output(path: str) -> int:
    """Appends, whoever else writes; the directories are made if need be."""
    try:
        return _open_new(path, os.O_APPEND)
    except FileNotFoundError:
        make_private(os.path.dirname(path))
        return _open_new(path, os.O_APPEND)


def sign(fd: int, socket: str, **process: Any) -> None:
    """Writes into the claim how the attempt's processes are known; before the spawn, as far as
    that is known then."""
    os.lseek(fd, 0, os.SEEK_SET)
    written = write_all(fd, json.dumps({"version": VERSION, "socket": socket, **process}).encode())
    if process:
        os.ftruncate(fd, written)


def conclude(directory: str, outcome: dict[str, Any]) -> None:
    """The outcome is there, whole.  Into room that was allocated before the spawn.

    OSError where a job has put something else in its place.
    """
    if not stat.S_ISDIR(os.lstat(directory).st_mode):  # or the target of a link would be written to
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), directory)
    part = f"{directory}/{OUTCOME}{PART}"
    fd = _open_new(part)
    try:
        os.ftruncate(fd, write_all(fd, json.dumps(outcome).encode()))
    finally:
        os.close(fd)
    os.rename(part, f"{directory}/{OUTCOME}")


def settle(directory: str, *more: str) -> None:
    """What this keeper and its child make in the directory is gone (and `more`, names in it), and
    so is the directory, or what a job has put in its place; in few steps, whatever else is there.

    Never raises: a directory in which a job has left files of its own stays, and is swept later.
    """
    with contextlib.suppress(OSError):
        if not stat.S_ISDIR(os.lstat(directory).st_mode):  # a link goes, not what it leads to
            os.unlink(directory)
            return
        for name in (*_OWN, *more):
            with contextlib.suppress(OSError):
                os.unlink(f"{directory}/{name}")
        os.rmdir(directory)


def discard(directory: str) -> None:
    """The attempt's directory is gone, with whatever a job has put there, or in its place.

    However long that takes: not in the keeper.  One that never was is fine.  Never raises: what
    can't be removed stays, and is swept at the next start.
    """
    with contextlib.suppress(OSError, RecursionError):
        _remove(directory)


def _remove(path: str) -> None:
    """A link goes, and nothing of what it leads to."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
        return
    for name in os.listdir(path):
        _remove(f"{path}/{name}")
    os.rmdir(path)


def write_all(fd: int, content: bytes) -> int:
    """How many bytes that was."""
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    return len(content)


def _reserve(path: str, length: int) -> None:
    """A file of zeros that has its blocks; whoever writes it cuts it to size."""
    fd = _open_new(path)
    try:
        os.posix_fallocate(fd, 0, length)
    finally:
        os.close(fd)


def _open_new(path: str, more: int = 0) -> int:
    """For writing; made if need be.  OSError where a job has put anything but a plain file there.

    Never waits: a FIFO, which nobody reads, would hold the keeper for ever.
    """
    fd = os.open(path, _NEW | os.O_NOFOLLOW | os.O_NONBLOCK | more, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a plain file", path)
        os.set_blocking(fd, True)  # whoever inherits it expects that
    except OSError:
        os.close(fd)
        raise
    return fd
