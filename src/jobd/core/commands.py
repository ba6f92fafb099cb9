"""What the outside may ask of the engine, as values.

They are validated before they reach the daemon's loop, so that nothing that a client sends
can raise inside it, and a test can list them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jobd.core.job import Ending, Policy
from jobd.core.rules import Rules

KEEP_MAX: Final = 200  # jobs said again in one commit, beside what callers ask for


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    stem: str  # of the id, see `ids`
    by: str
    call: bytes  # JSON: the fields as given, target and method in their stored form
    policy: Policy
    run_at: float | None = None  # an instant; None: delay_s from now
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Submit:
    """All or nothing.  The decision's answer: a tuple of `Submittal`, in order."""

    submissions: tuple[Submission, ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Of a waiting job: ends it.  Of a running one: asks it to stop, with `force` kills it.

    The answer: the job's Status.
    """

    id: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """The answer: the job's Status."""

    id: str
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Remove:
    id: str


@dataclass(frozen=True, slots=True)
class Progress:
    """From inside a running job.  Not kept before its attempt ends."""

    id: str
    fraction: float  # 0…1
    message: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """From the supervisor: the attempt is over and all of its processes are gone."""

    id: str
    attempt: int
    ending: Ending
    jitter: float  # in [0, 1); the engine rolls no dice


@dataclass(frozen=True, slots=True)
class AttemptNeverRan:
    """From the supervisor: nothing was spawned, and nothing will be.

    `want`: what the host lacked for it; None: it was not tried.
    """

    id: str
    attempt: int
    want: str | None = None


@dataclass(frozen=True, slots=True)
class Probed:
    """From the supervisor: what the host lacks for a start; None: nothing."""

    why: str | None


@dataclass(frozen=True, slots=True)
class Looked:
    """From the supervisor, once for each `Look`.

    By the boot clock: `at` that time something was last written `seen_at`; None: it can't be told.
    """

    id: str
    attempt: int
    at: float
    seen_at: float | None


@dataclass(frozen=True, slots=True)
class Keep:
    """From compaction: say again all that is known of those of `ids` that still exist.

    At most KEEP_MAX of them at a time.
    """

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drain:
    """Start nothing while on.  Not kept: ends with the daemon."""

    on: bool


@dataclass(frozen=True, slots=True)
class StopAll:
    """Service stop with `on_stop = "stop"`: every running attempt is asked to stop."""


@dataclass(frozen=True, slots=True)
class Follow:
    """New rules, after a reload."""

    rules: Rules


Command = (
    Submit | Cancel | Retry | Remove | Progress | AttemptEnded | AttemptNeverRan | Probed | Looked
    | Keep | Drain | StopAll | Follow
)  # fmt: skip
