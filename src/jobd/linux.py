"""The system calls that Python 3.11 lacks.

Bound at first use, so that importing this costs little and works everywhere; a call on a
system without it is an OSError with ENOSYS.  Nothing here keeps state or decides anything.
The keeper has it, too: hence no `typing` and no `platform`, which weigh more than the rest.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
import sys
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Final

CLOCK_REALTIME: Final = 0
CLOCK_BOOTTIME: Final = 7

_TFD_NONBLOCK: Final = 0o4000
_TFD_CLOEXEC: Final = 0o2000000
_TFD_TIMER_ABSTIME: Final = 1
_TFD_TIMER_CANCEL_ON_SET: Final = 2
_PR_SET_CHILD_SUBREAPER: Final = 36
_FALLOC_FL_KEEP_SIZE: Final = 1
_FALLOC_FL_PUNCH_HOLE: Final = 2
_IN_NONBLOCK: Final = 0o4000
_IN_CLOEXEC: Final = 0o2000000
_NS: Final = 1_000_000_000
_RT_SIGACTION: Final = {"x86_64": 13, "aarch64": 134, "riscv64": 134}  # the system call's number


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Itimerspec(ctypes.Structure):
    _fields_ = [("interval", _Timespec), ("value", _Timespec)]


# ---------------------------------------------------------------------------- timers


def timerfd(clock: int) -> int:
    """A descriptor (non-blocking, close-on-exec) that becomes readable when its time comes."""
    return _call("timerfd_create", clock, _TFD_NONBLOCK | _TFD_CLOEXEC)


def timerfd_set(fd: int, at: float | None, *, cancel_on_set: bool = False) -> None:
    """Readable from `at` on, in seconds of the descriptor's own clock; None disarms.

    An instant that has passed makes it readable at once.  With `cancel_on_set` (wall clock
    only) it is also readable when the clock was set, and reading it fails with ECANCELED.
    """
    spec = _Itimerspec()
    if at is not None:
        # Zero would disarm; the first nanosecond of the clock has passed for everybody.
        whole_ns = min(max(1, round(at * _NS)), (2**63 - 1) // 2)
        spec.value.seconds, spec.value.nanoseconds = divmod(whole_ns, _NS)
    flags = _TFD_TIMER_ABSTIME | (_TFD_TIMER_CANCEL_ON_SET if cancel_on_set else 0)
    _call("timerfd_settime", fd, flags, ctypes.byref(spec), None)


# ---------------------------------------------------------------------------- processes, files


def set_child_subreaper() -> None:
    """From now on, descendants whose parent dies become children of this process, not of init."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, *(ctypes.c_ulong(n) for n in (1, 0, 0, 0)))


def default_reserved_signals() -> None:
    """Signals 32 and 33 get their default action back.

    glibc keeps them for itself and lets nobody set them, yet its `posix_spawn` (which make uses)
    leaves them ignored in what it starts, and in all that descends from that.
    """
    number = _RT_SIGACTION.get(_machine())
    if number is not None:
        nothing = ctypes.create_string_buffer(64)  # all zero: SIG_DFL, in every layout
        for signal in (32, 33):
            _call("syscall", ctypes.c_long(number), signal, nothing, None, ctypes.c_size_t(8))


def _machine() -> str:
    if sys.platform == "win32":
        return ""
    else:
        return os.uname().machine


def fallocate_keep_size(fd: int, offset: int, length: int) -> None:
    """`length` bytes from `offset` can't run out of space any more; the file's size stays."""
    _fallocate(fd, _FALLOC_FL_KEEP_SIZE, offset, length)


def punch_hole(fd: int, offset: int, length: int) -> None:
    """These bytes take no space any more and read as zeros; the file's size stays.

    EOPNOTSUPP where the file system can't.
    """
    _fallocate(fd, _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE, offset, length)


def _fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    wide = ctypes.c_longlong  # off64_t, whatever the machine's word is
    _call("fallocate64", fd, mode, wide(offset), wide(length))


# ---------------------------------------------------------------------------- inotify

IN_MODIFY: Final = 0x2
IN_CREATE: Final = 0x100
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_DONT_FOLLOW: Final = 0x2000000
IN_ONESHOT: Final = 0x80000000

_EVENT: Final = struct.Struct("iIII")  # wd, mask, cookie, length of the name


class FileEvent(namedtuple("FileEvent", "watch mask name")):  # noqa: PYI024 no typing
    """`watch` is what `add` returned; -1 with IN_Q_OVERFLOW when events were lost."""

    __slots__ = ()
    if TYPE_CHECKING:
        watch: int
        mask: int
        name: str


class Inotify:
    """Tells of changes to files.  `fileno()` is readable when `read()` has something."""

    def __init__(self) -> None:
        self._fd = _call("inotify_init1", _IN_NONBLOCK | _IN_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    def add(self, path: str | os.PathLike[str], mask: int) -> int:
        """Watches one file or directory; the same one again gives the same number."""
        return _call("inotify_add_watch", self._fd, os.fsencode(path), ctypes.c_uint32(mask))

    def remove(self, watch: int) -> None:
        """Nothing to do when the watched file is gone: the kernel has removed the watch then."""
        try:
            _call("inotify_rm_watch", self._fd, watch)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise

    def read(self) -> list[FileEvent]:
        """What has happened since the last time; empty if nothing.  Never waits."""
        try:
            block = os.read(self._fd, 65536)
        except BlockingIOError:
            return []
        return list(_events(block))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _events(block: bytes) -> Iterator[FileEvent]:
    offset = 0
    while offset < len(block):
        watch, mask, _, length = _EVENT.unpack_from(block, offset)
        offset += _EVENT.size
        name = block[offset : offset + length].rstrip(b"\0")
        offset += length
        yield FileEvent(watch, mask, os.fsdecode(name))


# ---------------------------------------------------------------------------- libc


@functools.cache
def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _call(name: str, *arguments: Any) -> int:
    """Its result, or the OSError that errno names.  Interrupted calls are made again."""
    try:
        function: Callable[..., int] = getattr(_libc(), name)
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), name) from None
    while (result := function(*arguments)) < 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), name)
    return result
