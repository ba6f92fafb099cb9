"""Ends a forked process as Python ends one, but leaves standing what it shares with the others.

Taking an interpreter apart writes to nearly every page of it, each of which is copied for that:
that took four times as long as the fork.  So the modules that the job has brought are let go, all
files are written out, C's own `exit` does the rest, and the kernel takes back what is left.
"""

from __future__ import annotations

import _thread
import atexit
import gc
import io
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CODE_MAX = 255
FLUSH_FAILED = 120  # Python's own

_code: int | None = None
_shared: set[str] = set()
_exit: Any = None


def arrange() -> None:
    """Before anything else registers with `atexit`: what came first is called last."""
    try:
        import ctypes

        global _exit  # noqa: PLW0603 one process, one end
        _exit = ctypes.PyDLL(None).exit
    except (ImportError, OSError, AttributeError):
        return  # then it ends like any other
    atexit.register(_leave)


def share() -> None:
    """What is imported by now stays as it is until the end."""
    _shared.update(sys.modules)


def note(code: int) -> None:
    """What the process is about to exit with."""
    global _code  # noqa: PLW0603 one process, one end
    _code = code


def _leave() -> None:
    """Last of all `atexit` functions; the threads were joined before the first."""
    code = _code
    # Daemon threads run on while this does, and would find their modules empty.
    if code is None or not 0 <= code <= CODE_MAX or not _shared or _thread._count():
        return
    # First: the collector may close a file's descriptor before it writes out the file.
    _write_out()
    for name in [name for name in sys.modules if name not in _shared]:
        del sys.modules[name]
    gc.collect()  # a `__del__` of the job's still finds what its module imported
    _write_out()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except (OSError, ValueError):
        code = FLUSH_FAILED
    _exit(code)


def _write_out() -> None:
    """Files that nobody closed, whoever holds them."""
    for one in gc.get_objects():
        # Not `isinstance`: a proxy may answer that with code of its own.
        if issubclass(type(one), io.IOBase) and one not in (sys.stdout, sys.stderr):
            try:
                one.flush()
            except (OSError, ValueError):  # closed, or its disk is full: nobody is left to tell
                continue
