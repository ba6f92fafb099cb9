"""What carries out effects on this platform; the interface that it fits."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from jobd.core.commands import AttemptEnded, AttemptNeverRan, Looked, Probed
from jobd.core.decision import Effect
from jobd.core.job import Job
from jobd.core.moment import Moment
from jobd.descriptors import Limit
from jobd.errors import CannotStart
from jobd.supervisor.output import Outputs
from jobd.supervisor.settings import LaunchSettings


class Supervision(Protocol):
    async def start(self, running: Sequence[Job]) -> None:
        """Every one of `running` is then live, reported, or about to be.  Once, before effects."""

    def act(self, effect: Effect) -> None:
        """Begins to carry out.  Never waits."""

    def warm(self) -> None:
        """The settings are others by now: a warm interpreter is made ready as they say."""

    async def watch(self) -> None:
        """Waits until attempts can't be looked after any more; then raises why."""

    async def alive(self) -> None:
        """Raises CannotStart where the next daemon would not get what runs."""

    def pid(self, id: str) -> int | None:
        """Of the live attempt's main process."""

    async def aclose(self, *, leave: bool) -> None:
        """With `leave`, what runs goes on without a daemon."""


def system_supervision(
    *,
    state_dir: str | os.PathLike[str],
    log_dir: str | os.PathLike[str],
    settings: Callable[[], LaunchSettings],
    report: Callable[[AttemptEnded | AttemptNeverRan | Looked | Probed], None],
    now: Callable[[], Moment],
    jitter: Callable[[], float],
    boot_id: str,
    outputs: Outputs,
    limit: Limit | None,
) -> Supervision:
    if sys.platform != "win32":
        from jobd.supervisor.supervisor import Supervisor

        return Supervisor(
            state_dir=state_dir, log_dir=log_dir, settings=settings, report=report, now=now,
            jitter=jitter, boot_id=boot_id, outputs=outputs, limit=limit,
        )  # fmt: skip
    raise CannotStart("running jobs on Windows comes in a later release")
