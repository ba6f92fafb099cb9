"""What is known of the demo's jobs from the daemon's events.  Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from jobd.cli.wording import duration, epoch, printable
from jobd.client.job import FINAL

LATEST_MAX: Final = 200  # more than any terminal shows

_ENDS: Final = frozenset({"completed", "retried", "failed", "cancelled"})


class Line(NamedTuple):
    """Something that happened."""

    at_s: float  # since the first submission
    status: str
    label: str
    more: str


class Running(NamedTuple):
    label: str
    attempt: int
    since: float  # epoch


class Board:
    """Each job is either waiting, running, or counted in `ended`."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels
        self._began_at: float | None = None
        self.waiting: dict[str, str] = {}  # labels by id, the last to come last
        self.running: dict[str, Running] = {}
        self.ended: Counter[str] = Counter()  # by status
        self.latest: deque[Line] = deque(maxlen=LATEST_MAX)

    @property
    def total(self) -> int:
        return len(self._labels)

    @property
    def over(self) -> bool:
        return self.ended.total() == self.total

    def hear(self, event: Mapping[str, Any]) -> Line | None:
        """What there is to tell of it; None where no job's status changes."""
        id = event.get("id", "")
        if id not in self._labels:
            return None
        at, status, label = epoch(event["at"]), event["status"], self._labels[id]
        self._began_at = at if self._began_at is None else self._began_at
        before = self._move(id, event, at)
        if status == "running" and before is not None:
            return None  # it is being stopped; what comes of it will be told
        line = Line(at - self._began_at, status, label, _more(event, at, before))
        self.latest.append(line)
        return line

    def _move(self, id: str, event: Mapping[str, Any], at: float) -> Running | None:
        """The attempt that ran until now."""
        before = self.running.get(id)
        status, label = event["status"], self._labels[id]
        if status == "running":
            self.waiting.pop(id, None)
            self.running.setdefault(id, Running(label, event["attempt"], at))
            return before
        self.running.pop(id, None)
        self.waiting.pop(id, None)
        if status in FINAL:
            self.ended[status] += 1
        else:
            self.waiting[id] = label
        return before


def _more(event: Mapping[str, Any], at: float, before: Running | None) -> str:
    parts = []
    if event["status"] == "running" and event["attempt"] > 1:
        parts.append(f"attempt {event['attempt']}")
    if event["type"] in _ENDS and before is not None:
        parts.append(f"after {duration(at - before.since)}")
    if event.get("failure"):
        parts.append(printable(event["failure"]["message"] or event["failure"]["kind"]))
    if event["status"] in ("pending", "pending_retry"):
        wait_s = epoch(event["run_at"]) - at
        if wait_s > 0:
            parts.append(f"to be run in {duration(wait_s)}")
    return ", ".join(parts)
