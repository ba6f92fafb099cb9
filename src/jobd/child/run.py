"""One callable, from its `call` file to its `result` file.

Whatever the job's code does ends as a result, as an exit code or as a signal; what happens
here is not the job's fault and would end as an exception of this file, on stderr.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import sys

from . import leaving, standin, target
from .ending import described, excerpt, obeyed, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# The names of the files are the keeper's, see `keeper.protocol`: this may be another Python.
CALL = "call"
RESULT = "result"
PART = ".part"
RESULT_MAX = 64 * 1024
DEPTH_MAX = 200  # of a result's arrays and objects; every reader must manage


def run(directory: str) -> NoReturn:
    """Ends with SystemExit, so that threads are joined and `atexit` runs before the end."""
    with open(os.path.join(directory, CALL), encoding="utf-8", errors="surrogateescape") as file:
        call = json.loads(file.readline())  # what follows is for a fork, see `begun`
    sys.argv = [call["target"]]
    sys.path[:0] = call["path"]
    standin.lend_jobd()
    by_lines()
    process = os.getpid()
    last_act = _LastAct()
    code, result = _outcome(call, last_act)
    if result is not None and os.getpid() == process:  # else a fork of the job's came back here
        _write(directory, result)
    leaving.note(code)
    sys.exit(code)


def by_lines() -> None:
    """Output shows when a line is whole.  What a preloaded module has put in place of it stays."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)


class _LastAct:
    """Ends the process by the signal that its job obeyed, when all else is done.

    So nobody takes the end for one of the job's own: it is what it would have been, had the job
    not asked to hear of the signal.  Made before the job's code runs, since what is registered
    first is called last.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        atexit.register(self._act)

    def _act(self) -> None:
        if self.signal is None:
            return
        import signal

        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()
        signal.signal(self.signal, signal.SIG_DFL)
        os.kill(os.getpid(), self.signal)


def _outcome(call: dict[str, Any], last_act: _LastAct) -> tuple[int, bytes | None]:
    """The exit code, and what to leave as the result."""
    try:
        value = target.call(call)
        return 0, b'{"ok":' + _encoded(value) + b"}"
    except target.Unauthorized as exc:
        sys.stderr.write(f"{exc}\n")
        return 1, _dumped({"unauthorized": excerpt(str(exc), 1024)})
    except SystemExit as exc:
        return _asked_to_exit(exc.code)
    except BaseException as exc:  # noqa: BLE001 whatever a job raises is its outcome
        last_act.signal = obeyed(exc)
        if last_act.signal is not None:
            return 128 + last_act.signal, None
        show(exc)
        return 1, _dumped({"exception": described(exc)})


def _asked_to_exit(code: Any) -> tuple[int, bytes | None]:
    """As the interpreter itself reads `sys.exit`'s argument."""
    if code is None or code == 0:
        return 0, b'{"ok":null}'
    if isinstance(code, int):
        return code, None
    sys.stderr.write(f"{code}\n")
    return 1, _dumped({"exit": excerpt(str(code), 1024)})


def _encoded(value: Any) -> bytes:
    """As JSON.  Raises TypeError or ValueError with what the author of the job must know."""
    try:
        content = json.dumps(
            value, allow_nan=False, ensure_ascii=False, separators=(",", ":")
        ).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as exc:
        raise TypeError(f"the return value is no JSON: {exc}") from None
    if len(content) > RESULT_MAX:
        raise ValueError(f"the return value is {len(content)} bytes of JSON, more than 64 KiB")
    if _deeper(value, DEPTH_MAX):
        raise ValueError(f"the return value is nested more than {DEPTH_MAX} deep")
    return content


def _deeper(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return False
    return depth == 0 or any(_deeper(one, depth - 1) for one in value)


def _dumped(result: dict[str, Any]) -> bytes:
    return json.dumps(result).encode("ascii")


def _write(directory: str, result: bytes) -> None:
    """Whole or not at all, into the room that the keeper has allocated."""
    path = os.path.join(directory, RESULT)
    with open(os.open(path + PART, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(result)
        file.truncate()
    os.rename(path + PART, path)
