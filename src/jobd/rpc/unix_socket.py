"""The Unix socket: made where only its owner reaches it, and known by its credentials."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import resource
import select
import socket
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Final

from jobd.errors import EXIT_RETRY, PeerFault, SocketUnusable
from jobd.rpc.transport import CONNECTIONS_MAX, Kept, Peer

assert sys.platform != "win32"

_DESCRIPTORS_RESERVED: Final = 256  # for journal, outputs and keeper; they must never lack one
_PATH_MAX: Final = 107 if sys.platform == "linux" else 103  # sockaddr_un, less its NUL
_BACKLOG: Final = 1024


class UnixListener:
    """Removes its socket when it closes, unless another one stands there by then."""

    def __init__(self, path: str) -> None:
        self.address = path
        self._socket: socket.socket | None = None  # bound, and not served yet
        self._server: asyncio.Server | None = None
        self._identity: tuple[int, int] | None = None
        self.kept: Kept | None = None

    @property
    def connections_max(self) -> int:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return CONNECTIONS_MAX
        return max(1, min(CONNECTIONS_MAX, soft - _DESCRIPTORS_RESERVED))

    def check(self) -> None:
        _check_length(self.address)
        directory = os.path.dirname(os.path.abspath(self.address))
        if os.path.lexists(directory):
            with _opened(directory):
                _standing(self.address)

    def bind(self, inherited: Kept | None = None) -> None:
        """A socket at the path, 0600."""
        if inherited is None:
            self._bind()
            return
        before, identity = socket.socket(fileno=inherited.fd), (inherited.device, inherited.inode)
        if _listens_at(before, self.address) and _identity(self.address) == identity:
            self._socket, self._identity = before, identity
            return
        self._bind()
        _remove(before, identity)

    def _bind(self) -> None:
        _check_length(self.address)
        directory = os.path.dirname(os.path.abspath(self.address))
        with _locked(directory):
            if _standing(self.address):
                os.unlink(self.address)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                sock.bind(self.address)
                # Before it listens: until then nobody can connect, whatever the umask was.
                os.chmod(self.address, 0o600)
                self._identity = _identity(self.address)
                # Inside the lock, or another daemon would find it deaf and remove it.
                sock.listen(_BACKLOG)
            except OSError as exc:
                sock.close()
                raise SocketUnusable(f"can't listen on {self.address}: {exc.strerror}") from exc
        self._socket = sock

    async def serve(self, factory: Callable[[], asyncio.Protocol]) -> None:
        assert self._socket is not None, "bind first"
        loop = asyncio.get_running_loop()
        sock, self._socket = self._socket, None
        # Not `create_unix_server`: from Python 3.13 on it removes the socket when it closes,
        # and one that is kept must stay.
        self._server = await loop.create_server(factory, sock=sock, backlog=_BACKLOG)

    def peer(self, transport: asyncio.Transport) -> Peer:
        pid, uid = _credentials(transport.get_extra_info("socket"))
        if uid not in {os.geteuid(), 0}:
            raise PeerFault(f"connection of uid {uid} (pid {pid}) refused")
        return Peer(f"uid:{uid}", pid)

    def gone(self, transport: asyncio.Transport) -> bool:
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), 0)
        # One that only ceased to send is no hang-up, and still reads its answers.
        return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))

    def keep(self) -> None:
        assert self._server is not None, "serve first"
        identity = _identity(self.address)
        if identity is not None and identity == self._identity:
            self.kept = Kept(os.dup(self._server.sockets[0].fileno()), *identity)
            self._identity = None  # it stays where it is

    async def aclose(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if _identity(self.address) == self._identity is not None:
            os.unlink(self.address)


def _identity(path: str) -> tuple[int, int] | None:
    """Of what stands there; None: nothing."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _listens_at(sock: socket.socket, path: str) -> bool:
    return (
        sock.family == socket.AF_UNIX
        and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        and sock.getsockname() == path
    )


def _remove(sock: socket.socket, identity: tuple[int, int]) -> None:
    """One that listened elsewhere: nobody is to wait there for an answer.

    Only what the image before us left there: the path may be another's by now, or have always been.
    """
    if sock.family == socket.AF_UNIX and isinstance(path := sock.getsockname(), str) and path:
        with contextlib.suppress(OSError):
            if _identity(path) == identity:
                os.unlink(path)
    sock.close()


def _check_length(path: str) -> None:
    length = len(os.fsencode(path))
    if length > _PATH_MAX:
        raise SocketUnusable(
            f"the socket's path has {length} bytes and may have {_PATH_MAX}; choose a shorter one"
            f" (daemon.socket): {path}"
        )


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """The directory, made if need be and found safe; two daemons do not meet in it."""
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as exc:
        raise _unusable(directory, exc) from exc
    with _opened(directory) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _opened(directory: str) -> Iterator[int]:
    """A directory in which nobody else can put another socket in ours' place."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise _unusable(directory, exc) from exc
    try:
        found = os.fstat(fd)
        if found.st_uid not in {os.geteuid(), 0}:
            raise SocketUnusable(
                f"the socket's directory {directory} belongs to uid {found.st_uid}; choose another"
                " one (daemon.socket)"
            )
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise SocketUnusable(
                f"the socket's directory {directory} can be written by others, who could put"
                " another socket in its place; choose another one (daemon.socket), or"
                " `chmod go-w` it"
            )
        yield fd
    finally:
        os.close(fd)


def _unusable(directory: str, cause: OSError) -> SocketUnusable:
    return SocketUnusable(f"can't use the socket's directory {directory}: {cause.strerror}")


def _standing(path: str) -> bool:
    """Whether a socket without a listener stands there: what a crash left."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketUnusable(
            f"{path} is there and is no socket; it was not touched: move it away, or choose"
            " another daemon.socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except OSError as exc:
            if exc.errno == errno.ECONNREFUSED:
                return True
            if exc.errno != errno.EAGAIN:  # a full backlog: somebody listens
                raise SocketUnusable(f"can't use the socket {path}: {exc.strerror}") from exc
    raise SocketUnusable(
        f"another daemon listens on {path}; stop it, or choose another --socket",
        exit_code=EXIT_RETRY,
    )


def _credentials(sock: socket.socket) -> tuple[int, int]:
    """(pid, uid)"""
    if sys.platform == "linux":
        packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", packed)
    else:
        # BSD and macOS: LOCAL_PEERCRED gives an xucred: version, then the uid.
        pid, (_, uid) = 0, struct.unpack("2I", sock.getsockopt(0, 1, 8))
    return pid, uid
