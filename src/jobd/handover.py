"""What one image of the program gives to the next: who may follow, and what is passed on.

An upgrade replaces the program inside the process.  Before that, the new one is rehearsed: a
child runs the very command line of this daemon with one option more, `--rehearse`, and does
all of a start that touches nothing.  Only when that went well does this image stop, and exec.
The new image gets two descriptors: the socket, on which connections wait meanwhile, and the
lock of the state directory, which nobody else can get in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Self

import jobd
from jobd.config import Config
from jobd.core import records
from jobd.errors import CannotStart
from jobd.keeper import protocol
from jobd.rpc.transport import Kept, system_listener

log = logging.getLogger(__name__)

VARIABLE: Final = "JOBD_HANDOVER"  # for the next image alone; no child ever sees it
OPTION: Final = "--rehearse"
REHEARSAL_S: Final = 30.0
_SAID_MAX: Final = 2000  # characters of what a failed rehearsal said


@dataclass(frozen=True, slots=True)
class Handover:
    """Two descriptors of this process, inherited by nobody but the next image."""

    socket: Kept | None  # None: nothing stood at the socket's path any more
    lock_fd: int
    fault: str | None = None  # why the next image is this one again

    def execute(self) -> Self:
        """The next image takes over this process.  If it can't be started: what to go on with."""
        fds = [self.lock_fd] if self.socket is None else [self.lock_fd, self.socket.fd]
        # The pid: a variable that came with somebody's environment is not for us.
        named = {"pid": os.getpid(), "socket": self.socket, "lock_fd": self.lock_fd}
        for fd in fds:
            os.set_inheritable(fd, True)
        try:
            os.execve(*_command(), {**os.environ, VARIABLE: json.dumps(named)})
        except OSError as exc:
            fault = f"{sys.executable}: {exc.strerror}"
        for fd in fds:
            os.set_inheritable(fd, False)
        return replace(self, fault=fault)

    @classmethod
    def received(cls) -> Self | None:
        """What the image before this one left, if there was one.  Takes the variable away."""
        told = os.environ.pop(VARIABLE, None)
        if told is None:
            return None
        try:
            named = json.loads(told)
            pid, lock_fd, socket = (named[key] for key in ("pid", "lock_fd", "socket"))
            kept = None if socket is None else Kept(*socket)
            if pid == os.getpid() and _is(lock_fd, stat.S_ISREG):
                listens = kept is not None and _is(kept.fd, stat.S_ISSOCK)
                return cls(kept if listens else None, lock_fd)
        except (ValueError, TypeError, LookupError, OSError, OverflowError, RecursionError):
            pass  # told below, as what names another process
        log.warning("handover_ignored what=%r", told[:_SAID_MAX])
        return None


def _is(fd: int, kind: Callable[[int], bool]) -> bool:
    """Whether it is open and of that kind; it is then inherited by nobody."""
    if fd <= 2 or not kind(os.fstat(fd).st_mode):
        return False
    os.set_inheritable(fd, False)
    return True


def _command(*more: str) -> tuple[str, list[str]]:
    """The program, and this daemon's own command line: options of the interpreter, the script
    or module, and all that was said to it.  The directory is the same, so relative ones lead
    to the same places."""
    return sys.executable, [sys.executable, *sys.orig_argv[1:], *more]


# Before: may that program follow this one?


@dataclass(frozen=True, slots=True)
class Terms:
    """What the next image must cope with.  A later release may add to it, and take nothing."""

    journal: int  # version of the records that are written
    keeper: int  # version of the protocol that the keeper of running jobs speaks
    state_dir: str
    socket: str

    @classmethod
    def of(cls, config: Config) -> Self:
        return cls(
            records.VERSION, protocol.VERSION,
            str(config.daemon.state_dir), str(config.daemon.socket),
        )  # fmt: skip


def rehearse(config: Config, told: str) -> None:
    """In the child: whether this program can follow one with those terms.  Raises CannotStart.

    Neither socket, lock nor journal of the running daemon is touched.
    """
    try:
        known = json.loads(told)
        terms = Terms(
            int(known["journal"]), int(known["keeper"]),
            str(known["state_dir"]), str(known["socket"]),
        )  # fmt: skip
    except (ValueError, TypeError, LookupError):
        raise CannotStart(f"{OPTION}: no terms of a running daemon: {told}") from None
    version = jobd.__version__
    if terms.journal > records.VERSION:
        raise CannotStart(
            f"jobd {version} reads journals up to version {records.VERSION}, and the journal is of "
            f"version {terms.journal}: this release is older than the one that runs"
        )
    if terms.keeper != protocol.VERSION:
        raise CannotStart(
            f"jobd {version} speaks protocol {protocol.VERSION} with its keeper, and the keeper "
            f"speaks {terms.keeper}: wait until no job runs, stop the daemon, and start this one"
        )
    if str(config.daemon.state_dir) != terms.state_dir:
        raise CannotStart(
            f"daemon.state_dir is {terms.state_dir} and would become {config.daemon.state_dir}: "
            "stop the daemon and start it again for that"
        )
    listener = system_listener(str(config.daemon.socket))
    if listener.address != terms.socket:
        listener.check()
    _check_writable(config.daemon.log_dir)
    if sys.platform != "win32":
        from jobd.supervisor import supervisor  # noqa: F401 not imported before it is needed


def _check_writable(directory: Path) -> None:
    """It is, or can be made."""
    there = next(path for path in (directory, *directory.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise CannotStart(f"{directory}: can't be used as log_dir: {there} can't be written")


class Successor:
    """The program that this daemon's command line starts by now."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._rehearsal: asyncio.Task[None] | None = None

    async def rehearse(self) -> None:
        """Returns when it can take over; raises CannotStart with what it said, or didn't.

        Who asks while a rehearsal is under way joins it.
        """
        if self._rehearsal is None or self._rehearsal.done():
            command = _command(OPTION, json.dumps(asdict(self._terms)))
            self._rehearsal = asyncio.create_task(_rehearsed(*command))
        await asyncio.shield(self._rehearsal)

    async def aclose(self) -> None:
        """A rehearsal under way is broken off."""
        if self._rehearsal is not None:
            self._rehearsal.cancel()
            await asyncio.wait([self._rehearsal])


async def _rehearsed(program: str, argv: list[str]) -> None:
    if os.name == "nt":  # an exec there ends the process, and begins another
        raise CannotStart("an upgrade under running jobs comes to Windows in a later release")
    try:
        child = await asyncio.create_subprocess_exec(
            *argv, executable=program, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
    except OSError as exc:
        raise CannotStart(f"{program}: {exc.strerror}") from None
    try:
        async with asyncio.timeout(REHEARSAL_S):
            _, said = await child.communicate()
    except TimeoutError:
        raise CannotStart(f"it was not ready within {REHEARSAL_S:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        code = await child.wait()
    if code != 0:
        raise CannotStart(_last_line(said) or f"it ends with {code} and says nothing")


def _last_line(said: bytes) -> str:
    """Where a program says why it ends: its own message, or the end of a traceback."""
    lines = said.decode(errors="backslashreplace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return last.removeprefix("jobd: ")[:_SAID_MAX]
