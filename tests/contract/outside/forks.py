"""Starts `jobd` by a fork of a process that has imported what it imports.

Of the CPU time of a start, nine tenths are imports.  Each process is one of its own all the same:
its session, environment, directory and streams are what they would be after an exec, and its code
is run as `python -m` runs it.  Only /proc tells the difference: `environ` and `cmdline` there are
those of the process that it was forked from.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_IMPORTED = ("jobd.cli.journal", "jobd.config", "jobd.main")
_NUMBER = struct.Struct("i")
_READ_BY_PYTHON = ("PYTHON", "LC_", "LANG")  # at its start: no fork has read them


class Forks:
    """`env`: what every process of them shares of what Python reads at its start."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = _startup(env)
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._source = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno()), *_IMPORTED],
                env={"PATH": os.environ["PATH"], **self._env}, pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip

    def fit(self, env: Mapping[str, str]) -> bool:
        return _startup(env) == self._env

    def start(
        self, module: str, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path,
        stdin: int, stdout: int, stderr: int, session: bool,
    ) -> Fork:  # fmt: skip
        """As `python -P -m module arguments`."""
        mine, theirs = socket.socketpair()
        request = json.dumps([module, list(arguments), dict(env), str(cwd), session]).encode()
        with theirs, self._lock:
            fds = [theirs.fileno(), stdin, stdout, stderr]
            socket.send_fds(self._control, [request], fds)
        return Fork(mine)

    def close(self) -> None:
        self._control.close()
        self._source.wait()


class Fork:
    """What its tests need of a Popen."""

    def __init__(self, told: socket.socket) -> None:
        self._told = told
        self.returncode: int | None = None
        self.pid = self._number()

    def _number(self) -> int:
        number: int = _NUMBER.unpack(self._told.recv(_NUMBER.size))[0]
        return number

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                self.returncode = self._number()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from None
            self._told.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _startup(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_BY_PYTHON)}


def _source(control: socket.socket) -> str:
    """Serves until nobody can ask any more.  In each fork it returns what is to be run."""
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    living: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            woken.recv(64)
            _report(living)
        if control not in ready:
            continue
        request, fds, _, _ = socket.recv_fds(control, 1 << 20, 4)
        if not request:
            os._exit(0)
        told = socket.socket(fileno=fds.pop(0))
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (control, woken, wakes, told, *living.values()):
                each.close()
            return _become(json.loads(request), fds)
        for fd in fds:
            os.close(fd)
        told.sendall(_NUMBER.pack(pid))
        living[pid] = told


def _report(living: dict[int, socket.socket]) -> None:
    while living:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with living.pop(pid) as told, contextlib.suppress(OSError):  # nobody wants to know
            told.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _become(request: list[Any], fds: list[int]) -> str:
    """What is to be run."""
    module, arguments, env, cwd, session = request
    if session:
        os.setsid()
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = [module, *arguments]
    sys.orig_argv = [sys.executable, "-P", "-m", module, *arguments]
    return str(module)


def _main() -> None:
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    module = _source(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
