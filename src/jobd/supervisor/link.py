"""The daemon's end of the line to its keeper: finds one or starts one, then carries messages.

The daemon makes the listening socket and hands it over, so that there is nothing to wait for:
a connection stands before the keeper has begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from jobd import descriptors
from jobd.errors import EXIT_RETRY, CannotStart
from jobd.keeper import main as keeper_main
from jobd.keeper import protocol

assert sys.platform != "win32"

HELLO_S: Final = 30.0  # a keeper answers at once, unless the machine is very busy


class Link(asyncio.Protocol):
    """One connection to one keeper.  `send` never waits; what is sent in a turn goes as one."""

    def __init__(self, receive: Callable[[dict[str, Any]], None], lost: Callable[[], None]) -> None:
        self.pid = 0  # of the keeper, once it said hello
        self.pidfd = -1
        self.attempts: dict[tuple[str, int], dict[str, Any]] = {}  # when it said hello
        self.closing = False
        self._receive = receive
        self._lost = lost
        self._parted = asyncio.Event()
        self._listening = False
        self._held: list[dict[str, Any]] = []
        self._loop = asyncio.get_running_loop()
        self._hello: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._lines = protocol.Lines()
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []

    async def open(self, connection: socket.socket) -> bool:
        """Whether the keeper said hello: it may have been about to go."""
        try:
            await self._loop.create_unix_connection(lambda: self, sock=connection)
            async with asyncio.timeout(HELLO_S):
                hello = await self._hello
        except TimeoutError:
            await self.aclose()
            raise CannotStart(
                "the keeper of this state directory does not answer; end it, and its jobs with it",
                exit_code=EXIT_RETRY,  # one that was stopped may go on
            ) from None
        except ConnectionError:
            return False
        except BaseException:
            await self.aclose()
            raise
        if hello.get("protocol") != protocol.VERSION:
            await self.aclose()
            raise CannotStart(
                f"the keeper (pid {hello.get('pid')}) that has running jobs speaks protocol "
                f"{hello.get('protocol')}, not {protocol.VERSION}: start the release that began "
                "them, or wait for their end"
            )
        self.pid = hello["pid"]
        with contextlib.suppress(ProcessLookupError):  # then the connection ends, too
            self.pidfd = os.pidfd_open(self.pid)
        self.attempts = {(a["id"], a["attempt"]): a for a in hello["attempts"]}
        return True

    def listen(self) -> None:
        """From now on, and not before, what the keeper says is passed on, and its death told."""
        self._listening = True
        held, self._held = self._held, []
        for message in held:
            self._receive(message)
        if self._transport is None and not self.closing:
            self._lost()

    def send(self, message: dict[str, Any]) -> None:
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(protocol.encode(message))

    def close(self) -> None:
        """What was sent still goes out."""
        self.closing = True
        self._flush()
        if self._transport is not None:
            self._transport.close()

    async def aclose(self) -> None:
        self.close()
        if self._transport is not None:
            await self._parted.wait()

    async def gone(self) -> None:
        """The keeper's process has ended, and is no zombie of ours."""
        if self.pidfd < 0:
            return
        ended = asyncio.Event()
        self._loop.add_reader(self.pidfd, ended.set)
        try:
            await ended.wait()
        finally:
            self._loop.remove_reader(self.pidfd)
        with contextlib.suppress(ChildProcessError):  # another daemon's child
            os.waitpid(self.pid, os.WNOHANG)  # noqa: ASYNC222 it does not wait

    def release(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # Requests wait in memory whatever their number: the keeper reads while it works.
        transport.set_write_buffer_limits(high=1 << 40)

    def data_received(self, data: bytes) -> None:
        for message in self._lines.feed(data):
            if not self._hello.done():
                self._hello.set_result(message)
            elif self._listening:
                self._receive(message)
            else:
                self._held.append(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._parted.set()
        if not self._hello.done():
            self._hello.set_exception(exc or ConnectionResetError())
            self._hello.exception()  # nobody may be waiting for it any more
        elif self._listening and not self.closing:
            self._lost()

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(unsent)


def reach(state_dir: str) -> socket.socket | None:
    """A connection to the keeper that lives, if one does."""
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    try:
        with _short(state_dir) as directory:
            connection.connect(f"{directory}/{protocol.SOCKET}")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise
    return connection


def stands(state_dir: str) -> bool:
    """Whether the keeper's socket is still where the next daemon looks for it."""
    return os.path.lexists(f"{state_dir}/{protocol.SOCKET}")


def start(
    state_dir: str, log_path: str, limit: descriptors.Limit | None
) -> tuple[socket.socket, int]:
    """A connection to a new keeper, and its pid.

    Only where `reach` found none, and under the state lock.
    """
    listener = socket.socket(socket.AF_UNIX)
    connection = socket.socket(socket.AF_UNIX)
    try:
        with _short(state_dir) as directory:
            path = f"{directory}/{protocol.SOCKET}"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            listener.bind(path)
            os.chmod(path, 0o600)
            listener.listen(8)
            connection.connect(path)
        pid = _spawn(state_dir, log_path, listener)
        if limit is not None:  # its children are to have the one that the daemon was given
            descriptors.restore(pid, limit)
    except BaseException:
        connection.close()
        raise
    finally:
        listener.close()
    connection.setblocking(False)
    return connection, pid


@contextlib.contextmanager
def _short(directory: str) -> Iterator[str]:
    """A name of the directory that fits into the 108 bytes of a socket's address."""
    if sys.platform != "linux":
        yield directory
        return
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _spawn(state_dir: str, log_path: str, listener: socket.socket) -> int:
    """The keeper, in a session of its own, with four descriptors and one variable.

    Not asyncio's: in Python 3.11 that keeps a thread for each child, and this one outlives us.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    log = os.open(log_path, flags, 0o600)
    fd = listener.fileno()
    try:
        process = subprocess.Popen(
            [sys.executable, *keeper_main.FLAGS, keeper_main.__file__, str(fd)],
            env=_environment(state_dir), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            pass_fds=(fd,), start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(log)
    process.returncode = 0  # reaped by its number, if it ends before us
    return process.pid


def _environment(state_dir: str) -> dict[str, str]:
    """Nothing of the daemon's leaks into the keeper, which could pass it on."""
    env = {protocol.KEEPER: state_dir}
    if protocol.CGROUPS in os.environ:
        env[protocol.CGROUPS] = os.environ[protocol.CGROUPS]
    return env
