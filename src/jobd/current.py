"""The job that this process is, seen from inside, and what it can say of itself.

Standard library only and Python 3.8 or newer: where jobd is not installed, the child lends this
very file to the job as its module `jobd`.  Importing it costs next to nothing: whatever speaks
to the daemon or hears a signal is imported when it is first used.  No thread is ever started,
since a job may fork.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, NoReturn

    Told = tuple[float, str | None]  # fraction, message

__all__ = ["Cancelled", "Fail", "Retry", "current_job"]

AFTER_MAX_S = 100 * 365.25 * 86400  # the longest duration that jobd knows
MESSAGE_MAX = 255  # characters

_PER_S = 10.0  # reports, in the long run
_AT_ONCE = 5.0  # and of those that were saved up, so that short phases are all told
_UNANSWERED_MAX = 8  # a few lines fit into the socket, whether or not anybody reads them
_AGAIN_S = 1.0  # between two tries where no daemon answers
_LAST_S = 1.0  # how long the end of the process may wait for the last report to be taken


class Retry(Exception):
    """Fails this attempt and asks for another, `after` so many seconds (or a timedelta).

    None: as `retry_delay` and `backoff` say.  It spends one of the job's retries; with none left
    the job has failed.
    """

    _after: float | None = None

    def __init__(self, after: Any = None, message: str | None = None) -> None:
        self._after = None if after is None else _seconds(after)
        super().__init__(after, message)  # what pickle makes it from again

    @property
    def after(self) -> float | None:
        """In seconds."""
        return self._after

    def __str__(self) -> str:
        when = "" if self._after is None else f" after {self._after:g} s"
        return self.args[1] or f"asks to be run again{when}"


class Fail(Exception):
    """Fails the job at once, however many retries are left."""


class Cancelled(BaseException):
    """The job was told to stop, and has asked `check_cancelled`.

    No Exception, so that `except Exception` lets it pass.
    """

    signal: int | None = None  # that told it to; None: the job has made this one itself


# Their names in logs and results are the same, whichever file they come from.
for _each in (Retry, Fail, Cancelled):
    _each.__module__ = "jobd"


class CurrentJob:
    """Outside a job every fact is None, nothing is told, nothing is raised; the whole is false."""

    @property
    def id(self) -> str | None:
        return os.environ.get("JOBD_JOB_ID")

    @property
    def attempt(self) -> int | None:
        """Counts from 1."""
        number = os.environ.get("JOBD_ATTEMPT")
        return int(number) if number else None

    @property
    def deadline(self) -> float | None:
        """When the attempt will be told to stop, in seconds since the epoch; None: never."""
        instant = os.environ.get("JOBD_DEADLINE")
        return float(instant) if instant else None

    def progress(self, fraction: float, message: str | None = None) -> None:
        """Tells how much is done, from 0 to 1, and what is being done, for people to read.

        May be called as often as is convenient, from any thread and inside a running asyncio
        loop: it waits for nobody.  Some 10 reports a second are sent; the latest one that was
        held back goes out with the next call that is due, or at the end of the process, which
        waits up to a second until it was taken.  A daemon that is away, slow or being replaced
        is not the job's concern.  TypeError and ValueError for what is no fraction or no text;
        of a text of more than 255 characters the rest is left out.
        """
        told = _fraction(fraction), _shown(message)
        if self:
            _reports.tell(told)

    def check_cancelled(self) -> None:
        """Raises Cancelled if the job was told to stop: by a cancel, its timeout, the service.

        The first call takes over the job's stop signal: without it that ends the process, with
        it the job ends itself, and has `kill_grace` to clean up.  Every later call in any
        thread raises once the signal has come.  A handler that the job had installed for that
        signal is called as before.  RuntimeError if the first call is not the main thread's,
        since only there Python lets a handler be installed.
        """
        if self:
            _stop.check()

    def __bool__(self) -> bool:
        return self.id is not None

    def __repr__(self) -> str:
        return f"<current_job {self.id} attempt={self.attempt}>" if self else "<no current job>"


def _seconds(after: Any) -> float:
    if hasattr(after, "total_seconds"):
        after = after.total_seconds()
    if isinstance(after, bool) or not isinstance(after, (int, float)):
        raise TypeError(f"after is a number of seconds or a timedelta, not {after!r}")
    if not 0 <= after <= AFTER_MAX_S:  # NaN is neither
        raise ValueError(f"after must be from 0 to 100 years in seconds, not {after!r}")
    return float(after)


def _fraction(value: Any) -> float:
    # What can be made a number and is meant as one: numpy's and Decimal have it, str has not.
    if isinstance(value, bool) or not hasattr(type(value), "__float__"):
        raise TypeError(f"fraction must be a number from 0 to 1, not {value!r}")
    fraction = float(value)
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be from 0 to 1, not {value!r}")
    return fraction


def _shown(message: str | None) -> str | None:
    """What a file name has in it, or how long it is, must not fail a job."""
    if message is None:
        return None
    if not isinstance(message, str):
        raise TypeError(f"message must be a string, not {message!r}")
    if len(message) > MESSAGE_MAX:
        message = message[: MESSAGE_MAX - 1] + "…"
    return message.encode("utf-8", "replace").decode("utf-8")


class _Reports:
    """The latest progress on its way to the daemon.

    Only the end of the process ever waits.  What is not answered is counted, so that a daemon
    which does not read holds reports back and nobody up.
    """

    def __init__(self) -> None:
        self._at_exit = False
        self.forked()

    def forked(self) -> None:
        """The child of a fork has nothing to tell yet, and a connection of its own."""
        self._lock = allocate_lock()
        self._held: list[Told] = []  # at most one; a list, since its changes are atomic
        self._sent: Told | None = None
        self._unsure = False  # whether the daemon that is there knows that one
        self._link: _Link | None = None
        self._saved = _AT_ONCE
        self._counted_at = 0.0
        self._again_at = 0.0

    def abandoned(self) -> None:
        """Before `forked`: what was inherited stays the parent's."""
        if self._link is not None:
            self._link.close()

    def tell(self, told: Told) -> None:
        self._held[:] = [told]
        # Whoever has the lock is sending, or is what this signal's handler has interrupted.
        if not self._lock.acquire(False):
            return
        try:
            if not self._at_exit:
                import atexit

                atexit.register(self._last)
                self._at_exit = True
            if self._due():
                self._send()
        finally:
            self._lock.release()

    def _due(self) -> bool:
        from time import monotonic

        now = monotonic()
        self._saved = min(_AT_ONCE, self._saved + (now - self._counted_at) * _PER_S)
        self._counted_at = now
        if self._saved < 1 or now < self._again_at:
            return False
        self._saved -= 1
        self._again_at = now + _AGAIN_S  # unless it is sent
        return True

    def _send(self) -> None:
        """What is held, unless nobody takes it now."""
        for _ in range(2):  # the second time to the daemon that has come after a lost one
            try:
                self._link = self._link or _Link(os.environ.get("JOBD_SOCKET", ""))
                self._link.read(0)
            except OSError:
                if not self._lost():
                    return
                continue
            break
        if self._link is None:
            return
        self._again_at = 0.0
        if self._link.unanswered >= _UNANSWERED_MAX:
            return
        if self._held:
            self._sent = self._held.pop()
        elif not self._unsure:
            return
        self._unsure = False
        assert self._sent is not None
        try:
            self._link.send(_request(self._link.number, self._sent))
        except OSError:
            self._lost()

    def _lost(self) -> bool:
        """Whether there had been a connection.  The next daemon knows nothing of what it took."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
            self._unsure = self._sent is not None
        return link is not None

    def _last(self) -> None:
        """At the end of the process: the daemon knows the last value, or could not be told."""
        from time import monotonic

        if not self._lock.acquire(True, _LAST_S):
            return
        try:
            until = monotonic() + _LAST_S
            while monotonic() < until:
                if self._held or self._sent:
                    self._send()  # if need be; a daemon that went away is noticed here
                if self._link is None or not self._link.unanswered:
                    break
                try:
                    self._link.read(max(0.001, until - monotonic()))
                except OSError:
                    self._lost()
            self._lost()
        finally:
            self._lock.release()


def _request(number: int, told: Told) -> bytes:
    import json

    fraction, message = told
    params: dict[str, Any] = {"id": os.environ.get("JOBD_JOB_ID"), "fraction": fraction}
    if message is not None:
        params["message"] = message
    request = {"jsonrpc": "2.0", "id": number, "method": "progress", "params": params}
    return json.dumps(request).encode("ascii") + b"\n"


class _Link:
    """A connection to the daemon.  OSError where it can't be used any longer."""

    def __init__(self, path: str) -> None:
        import socket

        if not hasattr(socket, "AF_UNIX"):
            raise OSError("named pipes come in a later release")
        self.number = 0
        self.unanswered = 0
        self._socket: socket.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(path)  # at once, or not at all: its backlog may be full
        except BaseException:
            self._socket.close()
            raise

    def send(self, line: bytes) -> None:
        if self._socket.send(line) != len(line):
            raise OSError("the socket is full")
        self.number += 1
        self.unanswered += 1

    def read(self, timeout_s: float) -> None:
        """Counts the answers that have come, the first within that time; not what they say."""
        self._socket.settimeout(timeout_s)
        try:
            while self.unanswered or not timeout_s:
                chunk = self._socket.recv(65536)
                if not chunk:
                    raise OSError("closed by the daemon")
                self.unanswered = max(0, self.unanswered - chunk.count(b"\n"))
                self._socket.settimeout(0)
        except (BlockingIOError, TimeoutError, _timeout()):
            pass
        self._socket.settimeout(0)

    def close(self) -> None:
        self._socket.close()


def _timeout() -> type[OSError]:
    """Its own class before Python 3.10."""
    import socket

    return socket.timeout


class _Stop:
    """The job's stop signal, once the job wants to hear of it."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._previous: Any = None
        self._came = False

    def check(self) -> None:
        if self._number is None:
            self._take_over()
        if self._came:
            stopped = Cancelled("the job was told to stop")
            stopped.signal = self._number
            raise stopped

    def forked(self) -> None:
        """A child of the job's, a worker of a pool say, ends by the signal as it would have."""
        if self._number is not None:
            import signal

            signal.signal(self._number, self._previous)
            self._number, self._came = None, False

    def _take_over(self) -> None:
        """Does nothing where the signal is one that can't be heard."""
        import signal

        number = signal.Signals[os.environ.get("JOBD_STOP_SIGNAL", "SIGTERM")]
        previous = signal.getsignal(number)
        if previous is None:
            raise RuntimeError(f"{number!r} is handled by code that is not Python's")
        self._previous = previous
        try:
            signal.signal(number, self._heard)
        except ValueError:
            raise RuntimeError(
                "call current_job.check_cancelled() once in the main thread, before others do"
            ) from None
        except OSError:  # SIGKILL, SIGSTOP
            return
        self._number = number

    def _heard(self, number: int, frame: Any) -> None:
        import signal

        self._came = True
        # That one would raise KeyboardInterrupt, and is the interpreter's, not the job's.
        if callable(self._previous) and self._previous is not signal.default_int_handler:
            self._previous(number, frame)


def _forked() -> None:
    _reports.abandoned()
    _reports.forked()
    _stop.forked()


current_job = CurrentJob()
_reports = _Reports()
_stop = _Stop()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def __getattr__(name: str) -> NoReturn:
    """Of this module when it stands in for `jobd`."""
    if __name__ == "jobd" and name in ("Client", "AsyncClient", "run_background_job"):
        raise ImportError(f"jobd.{name}: jobd is not installed in this interpreter", name=__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
