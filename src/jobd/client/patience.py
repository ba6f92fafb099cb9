"""How long a daemon that was there is looked for again, and what to make of a second answer."""

from __future__ import annotations

import time

from jobd.client.job import FINAL
from jobd.errors import Conflict, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jobd.errors import JobdError

GIVE_UP_S = 30.0  # a restart with a large journal takes a few seconds; the contract's number
FIRST_WAIT_S = 0.05
WAIT_MAX_S = 1.0


class Patience:
    """Of one call.  Begins at its first loss, ends 30 s later or at its own deadline."""

    def __init__(self, deadline: float | None = None) -> None:
        self.lost = False  # whether the daemon may have done it already
        self._deadline = deadline  # on the monotonic clock
        self._give_up_at = 0.0
        self._wait_s = FIRST_WAIT_S

    def wait_after(self, error: JobdError) -> float:
        """Seconds until the next try; raises `error`, or TimeoutError, when there is none."""
        now = time.monotonic()
        if not self.lost:
            self.lost = True
            self._give_up_at = now + GIVE_UP_S
        if self._deadline is not None and now >= self._deadline:
            raise TimeoutError(f"no answer in time: {error}") from error
        if now >= self._give_up_at:
            raise error
        wait_s = self._wait_s * (0.5 + time.monotonic_ns() % 512 / 1024)  # not all at once
        self._wait_s = min(2 * self._wait_s, WAIT_MAX_S)
        end = self._give_up_at if self._deadline is None else min(self._give_up_at, self._deadline)
        return min(wait_s, end - now)


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
