"""A warm interpreter: it imports what jobs need once, then forks a process for each of them.

It runs no job's code itself.  In a job's process everything is then as if it had been exec'd
for that job alone; nobody runs a job's code before the keeper could be told its pid.
"""

from __future__ import annotations

import _socket
import _thread
import gc
import json
import os
import signal
import sys

from . import begun, leaving, place, standin
from .ending import class_name, excerpt, show

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

PACKET_MAX = 256 * 1024
TOLD_MAX = 10  # warnings, or names of threads,
TOLD_BYTES = 400  # of so much each
OUTPUTS = 2  # descriptors that come with each request


class Refused(Exception):
    """No job can be forked from here; the reason is the text."""


def serve(number: int) -> str:
    """Returns in a process of a job's, each time: the directory of its attempt.

    `number` is the descriptor of the keeper's line.  When that ends, so does the interpreter.
    """
    os.set_inheritable(number, False)
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, number)
    runtime = json.loads(channel.recv(PACKET_MAX))
    try:
        own = _own_place()
        warnings = _prepare(runtime, number)
    except Refused as exc:
        channel.send(json.dumps({"refused": str(exc)}).encode())
        os._exit(0)
    channel.send(json.dumps({"ready": True, "warnings": warnings}).encode())
    space = _socket.CMSG_SPACE(OUTPUTS * 4)
    while True:
        packet, ancillary, _, _ = channel.recvmsg(PACKET_MAX, space)
        if not packet:
            os._exit(0)
        if not ancillary:  # the keeper asks for a sign of life
            channel.send(b'{"lives": true}')
            continue
        [(_, _, passed)] = ancillary
        outputs = [int.from_bytes(passed[n : n + 4], sys.byteorder) for n in (0, 4)]
        if _is_forked(channel, packet):
            return begun.begin(channel, packet, outputs, own)
        for fd in outputs:
            os.close(fd)


def _is_forked(channel: _socket.socket, packet: bytes) -> bool:
    """True in the new process.  Its parent ends at once, so that the keeper becomes its parent."""
    try:
        if os.fork():
            return False
    except OSError as exc:
        _lack(channel, packet, exc)
        return False
    # Ignored, as it is in the interpreter, the job's end would be lost if it came before ours.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        if os.fork():
            os._exit(0)
    except OSError as exc:
        _lack(channel, packet, exc)
        os._exit(1)
    return True


def _lack(channel: _socket.socket, packet: bytes, exc: OSError) -> None:
    request = json.loads(packet)
    answer = {"id": request["id"], "attempt": request["attempt"], "lacking": exc.errno}
    channel.send(json.dumps(answer).encode())


# Before the first fork: whatever all processes can share.


def _own_place() -> place.Place:
    try:
        own = place.Place()
        own.write(b"jobd: warm interpreter", b"")
    except (OSError, LookupError) as exc:
        raise Refused(f"a forked process could not be told apart: {exc}") from None
    return own


def _prepare(runtime: dict[str, Any], number: int) -> list[str]:
    """What is to be warned of.  Raises Refused."""
    for name in [name for name in os.environ if name.startswith("JOBD_")]:
        del os.environ[name]  # they are the interpreter's; preloaded code is in no job
    os.umask(0o022)
    leaving.arrange()
    _preload(runtime["path"], runtime["preload"])
    _refuse_threads()
    warnings = _bounded([*_native_threads(), *_descriptors(number)], "and {} more like these")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # or each job would write it again
    _default_signals()
    _forget_directories()
    leaving.share()
    gc.collect()
    gc.freeze()
    gc.disable()
    return warnings


def _preload(path: Sequence[str], names: Sequence[str]) -> None:
    """`sys.path` is afterwards as the modules left it, without what was lent to them."""
    if not names:
        return
    standin.lend_jobd()
    sys.path[:0] = path
    for name in names:
        try:
            __import__(name)
        except BaseException as exc:  # noqa: BLE001 a module can do anything, SystemExit included
            show(exc)
            message = excerpt(f"{class_name(type(exc))}: {exc}", 500)
            raise Refused(f"preload of {name}: {message}") from None
    for entry in path:
        if entry in sys.path:
            sys.path.remove(entry)


def _refuse_threads() -> None:
    """A fork takes one thread along: what the others were to do would never be done in a job, and
    what they hold would never be released."""
    if not _thread._count():
        return
    import threading

    names = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
    told = ", ".join(_bounded(names, "and {} more")) or "without names"
    raise Refused(f"preloaded modules left threads running: {told}")


def _bounded(texts: Sequence[str], more: str) -> list[str]:
    """So that they fit into one packet, although each character may take twelve bytes."""
    told = [excerpt(text, TOLD_BYTES) for text in texts[:TOLD_MAX]]
    return told if len(texts) <= TOLD_MAX else [*told, more.format(len(texts) - TOLD_MAX)]


def _native_threads() -> list[str]:
    count = len(os.listdir("/proc/self/task")) - 1
    if not count:
        return []
    told = f"preloaded modules left {count} native thread(s) running (a library's own)"
    return [f"{told}; no job has them: the library must start them again after a fork"]


def _descriptors(number: int) -> list[str]:
    warnings = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            leads_to = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the one that looked
            continue
        if fd > 2 and fd != number:
            warnings.append(f"preloaded modules left {leads_to} open; it is closed in each job")
    return warnings


def _forget_directories() -> None:
    """What the import system has listed of them; but for the standard library's own.

    So a file that has come since is found, and no job pays for `importlib.invalidate_caches`,
    which imports more than most jobs do.
    """
    library = os.path.dirname(os.__file__)
    for path in list(sys.path_importer_cache):
        if path != library and not path.startswith(os.path.join(library, "lib-dynload")):
            del sys.path_importer_cache[path]


def _default_signals() -> None:
    """As in a fresh interpreter, but all of them blocked: one that comes for a job before its
    process is ready is then not lost.  And no forked process waits to be reaped here."""
    signal.set_wakeup_fd(-1)
    ignored = {signal.SIGPIPE, signal.SIGXFSZ}
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
