"""In the new process of a job's: from a fork of the warm interpreter to what an exec would give.

What may fail is done first and told instead of the pid; once that is told, the process is the
keeper's like any other.  One that can't tell it ends, and has run nothing.
"""

from __future__ import annotations

import gc
import json
import math
import os
import resource
import signal
import sys
import time

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Mapping, Sequence
    from typing import Any

    from .place import Place

CALL = b"call"
NOT_EXECUTABLE = 126  # what an exec of the same would end with
COMM_MAX = 15
COERCED = {b"LC_CTYPE"}  # in the C locale Python itself sets it, for its children, too
SPARE_CPU_S = 2  # the keeper's own measurement comes before the kernel's
FDS_MAX = (1 << 31) - 1
IN_ONE_CALL = sys.version_info >= (3, 10)  # else `closerange` asks for each


class _SpawnFailed(Exception):
    """The arguments are the message and the exit code, as the keeper has them of an exec."""


def begin(channel: _socket.socket, packet: bytes, outputs: Sequence[int], place: Place) -> str:
    """The directory of the attempt, once everything is as if it had been exec'd."""
    request = json.loads(packet)
    directory = _bytes(request["directory"])
    told = {"id": request["id"], "attempt": request["attempt"]}
    try:
        # Before it leaves the interpreter's session: whoever finds it knows whose it is.
        place.write(_bytes(request["title"]), _bytes(request["marker"]))
        os.setsid()
        asked = _asked(directory, request["offset"])
        _set_environment(asked["env"])
        _enter(asked["cwd"])
        for fd, output in enumerate(outputs, 1):
            os.dup2(output, fd)
        _enter_cgroup(asked["cgroup"])
        _rename(request["title"])
        told["pid"] = os.getpid()
        packet = json.dumps(told).encode()
        _close_all_but(channel.fileno())
        # Last: who is allowed 16 descriptors has them all for himself.
        _limit(asked["limits"])
    except _SpawnFailed as exc:
        message, code = exc.args
        _give_up(channel, {**told, "pid": None, "spawn": message, "exit_code": code})
    except OSError as exc:
        _give_up(channel, {**told, "pid": None, "lacking": exc.errno})
    try:
        channel.send(packet)
    except OSError:  # there is no keeper, or it has given this one up
        os._exit(1)
    channel.close()
    _leave_the_interpreter()
    return os.fsdecode(directory)


def _give_up(channel: _socket.socket, told: Mapping[str, Any]) -> None:
    try:
        channel.send(json.dumps(told).encode())
    finally:
        os._exit(1)


def _bytes(text: str) -> bytes:
    """What the keeper, whose names are UTF-8, had; this interpreter may read them otherwise."""
    return text.encode("utf-8", "surrogateescape")


def _asked(directory: bytes, offset: int) -> dict[str, Any]:
    """The second line of the call."""
    with open(os.path.join(directory, CALL), "rb", buffering=0) as file:
        file.seek(offset)
        asked: dict[str, Any] = json.loads(file.read())
        return asked


def _set_environment(env: Mapping[str, str]) -> None:
    """Only what differs is touched: the interpreter has most of it already, and each page that is
    written to is copied."""
    wanted = {_bytes(name): _bytes(value) for name, value in env.items()}
    had = dict(os.environb)
    try:
        for name in had.keys() - wanted.keys() - COERCED:
            del os.environb[name]
        for name, value in wanted.items():
            if had.get(name) != value:
                os.environb[name] = value
    except ValueError as exc:  # a NUL, or a `=` in a name: the edge has let it through
        raise _SpawnFailed(f"{sys.executable}: {exc}", NOT_EXECUTABLE) from None
    time.tzset()


def _limit(limits: Mapping[str, float]) -> None:
    """What the kernel keeps by itself, as `keeper.limits.before_exec` has it; the keeper sees to
    the rest."""
    try:
        if "open_files" in limits:
            most = int(limits["open_files"])
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if "cpu_time" in limits:  # a backstop: the keeper is to come first
            most = math.ceil(limits["cpu_time"]) + SPARE_CPU_S
            resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
        if "nice" in limits:
            os.nice(int(limits["nice"]))
    except (OSError, ValueError, OverflowError):  # more than this user may have, or there is
        raise _SpawnFailed(f"{sys.executable}: its limits can't be set here", None) from None


def _enter(cwd: str) -> None:
    try:
        os.chdir(_bytes(cwd))
    except OSError as exc:
        raise _SpawnFailed(f"cwd {cwd}: {exc.strerror}", None) from None
    except ValueError as exc:
        raise _SpawnFailed(f"{sys.executable}: {exc}", NOT_EXECUTABLE) from None


def _enter_cgroup(path: str | None) -> None:
    if path is not None:
        fd = os.open(_bytes(path) + b"/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"0")
        finally:
            os.close(fd)


def _rename(title: str) -> None:
    comm = os.open("/proc/self/comm", os.O_WRONLY)
    try:
        os.write(comm, _bytes(title.rpartition(":")[2])[:COMM_MAX])
    finally:
        os.close(comm)


def _close_all_but(kept: int) -> None:
    """The interpreter's, and what preloaded modules left open."""
    end = FDS_MAX if IN_ONE_CALL else max(map(int, os.listdir("/proc/self/fd"))) + 1
    os.closerange(3, kept)
    os.closerange(kept + 1, end)


def _leave_the_interpreter() -> None:
    """Nothing of it is left that a fresh one would not have."""
    _renew()
    gc.enable()
    # What came meanwhile takes effect now.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _renew() -> None:
    """What modules keep for each process, where they were preloaded and don't see to it by
    themselves (`random` does)."""
    processes: Any = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes.ORIGINAL_DIR = os.getcwd()
        processes.current_process().authkey = os.urandom(32)
    numbers: Any = sys.modules.get("numpy.random")
    if numbers is not None:
        numbers.seed()  # or all jobs would draw the same
