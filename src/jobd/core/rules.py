"""What the config says to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

DAY_S: Final = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    max_running: int
    max_pending: int = 1_000_000
    max_interruptions: int = 3
    queue_max: Mapping[str, int] = field(default_factory=dict)  # running at once, by queue
    completed_s: float = 7 * DAY_S  # how long a job is kept after its end
    failed_s: float = 7 * DAY_S
    cancelled_s: float = 7 * DAY_S
    max_jobs: int | None = None  # kept at most; older final ones go first
