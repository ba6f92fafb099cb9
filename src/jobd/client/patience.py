"""How long a daemon that was there is looked for again, and what to make of a second answer."""

from __future__ import annotations

import time

from jobd.client.job import FINAL
from jobd.client.protocol import ConnectionLost
from jobd.errors import Conflict, DaemonUnavailable, Draining, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jobd.errors import JobdError

GIVE_UP_S = 30.0  # a restart takes a few seconds; the contract's number
FIRST_WAIT_S = 0.05
WAIT_MAX_S = 1.0


class Patience:
    """Of one call: 30 s between its tries, all together, or less if its own deadline is near.

    What a try itself takes is not counted: it is a daemon's that was there, and may be busy with
    its journal.  After one that lasted 30 s all 30 are there again, so that a wait of days lives
    through any number of restarts, while a call that ends every daemon comes to an end.
    """

    def __init__(self, deadline: float | None = None) -> None:
        self.lost = False  # whether the daemon may have done it already
        self._deadline = deadline  # on the monotonic clock
        self._left_s = GIVE_UP_S
        self._wait_s = FIRST_WAIT_S
        self._tried_at = time.monotonic()

    def wait_after(self, error: JobdError) -> float:
        """Seconds until the next try; raises `error`, or TimeoutError, when there is none."""
        now = time.monotonic()
        self.lost = self.lost or isinstance(error, ConnectionLost | Draining)
        if now - self._tried_at >= GIVE_UP_S:
            self._left_s, self._wait_s = GIVE_UP_S, FIRST_WAIT_S
        if self._deadline is not None and now >= self._deadline:
            raise TimeoutError(f"no answer in time: {error}") from error
        if self._left_s <= 0:
            raise self._in_the_end(error)
        wait_s = self._wait_s * (0.5 + time.monotonic_ns() % 512 / 1024)  # not all at once
        wait_s = min(wait_s, self._left_s)
        if self._deadline is not None:
            wait_s = min(wait_s, self._deadline - now)
        self._wait_s = min(2 * self._wait_s, WAIT_MAX_S)
        self._left_s -= wait_s
        self._tried_at = now + wait_s
        return wait_s

    def _in_the_end(self, error: JobdError) -> JobdError:
        """That nobody answers now is not all there is to say of what was sent before."""
        if self.lost and isinstance(error, DaemonUnavailable):
            unknown = "what was asked before it went may have been done"
            return ConnectionLost(f"{error}; {unknown}", socket=error.socket)
        return error


def done_before(method: str, error: JobdError) -> bool:
    """Whether a repeated call may have been refused because its first try went through.

    What a `cancel` or a `retry` has then led to must still be looked up: `fulfilled`.
    """
    if method == "remove":
        return isinstance(error, NotFound)
    return method in ("cancel", "retry") and isinstance(error, Conflict)


def fulfilled(method: str, status: str) -> bool:
    """Whether a job of this status is as the call wanted it."""
    if method == "cancel":
        return status == "cancelled"
    return status not in FINAL


def timed(params: dict[str, Any], deadline: float | None) -> dict[str, Any]:
    """The same call with what is left of its time."""
    if deadline is None:
        return params
    return {**params, "timeout": max(0.0, deadline - time.monotonic())}
