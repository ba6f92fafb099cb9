"""What `stats` tells of the recent past: how much was done, how long it waited and ran."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from jobd.core.decision import Fact
from jobd.core.records import Cancelled, Completed, Failed, Interrupted, Retried, Started

SAMPLES: Final = 1000  # the latest attempts, of which the percentiles tell
WINDOW_S: Final = 60
PERCENTILES: Final = (50, 90, 99)


class Tally:
    def __init__(self) -> None:
        self._waits: deque[float] = deque(maxlen=SAMPLES)
        self._runs: deque[float] = deque(maxlen=SAMPLES)
        self._ends: deque[list[int]] = deque()  # [second, attempts that ended in it]

    def announce(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            match fact.record:
                case Started(at=at):
                    # Ready since its run_at; a wall clock set back makes no negative wait.
                    self._waits.append(max(0.0, at - fact.job.run_at))
                case (
                    Completed(ended=ended) | Retried(ended=ended) | Interrupted(ended=ended)
                    | Failed(ended=ended) | Cancelled(ended=ended)
                ) if ended is not None:  # fmt: skip
                    self._runs.append(max(0.0, ended.finished_at - ended.started_at))
                    self._count(int(ended.finished_at))

    def summary(self, now: float) -> dict[str, Any]:
        """`{throughput, wait_s: {p50, p90, p99}, run_s: {…}}`.

        `throughput`: attempts ended per second, over the last minute.  Percentiles are None
        before anything has run.
        """
        recent = sum(count for second, count in self._ends if now - WINDOW_S <= second <= now)
        return {
            "throughput": recent / WINDOW_S,
            "wait_s": _percentiles(self._waits),
            "run_s": _percentiles(self._runs),
        }

    def _count(self, second: int) -> None:
        if self._ends and self._ends[-1][0] == second:
            self._ends[-1][1] += 1
            return
        self._ends.append([second, 1])
        while self._ends[0][0] < second - WINDOW_S:
            self._ends.popleft()


def _percentiles(samples: Sequence[float] | deque[float]) -> dict[str, float | None]:
    """Nearest rank."""
    ranked = sorted(samples)
    return {
        f"p{p}": ranked[-(-len(ranked) * p // 100) - 1] if ranked else None for p in PERCENTILES
    }
