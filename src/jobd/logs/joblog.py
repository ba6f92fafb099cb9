"""The two job logs: what became of each job, one line at a time.

Fed with facts once they are on disk, so they never tell a story that the journal does not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from jobd.core.decision import Fact
from jobd.logs import lines as joblines
from jobd.logs.files import LogFile, Rotation
from jobd.logs.lines import Line

JOBS: Final = "background_jobs.log"
ERRORS: Final = "background_jobs_errors.log"
REFUSALS_PER_SECOND: Final = 10
_PEERS_MAX: Final = 1024  # remembered at most, for counting; far more than users of one machine


class LogSettings(Protocol):
    """What the `[logging]` table says, as far as it counts here."""

    @property
    def format(self) -> str: ...
    @property
    def rotate(self) -> str | int: ...
    @property
    def keep(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def params(self) -> bool: ...


class _Refusals:
    """Those of one peer within one second."""

    __slots__ = ("count", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.count = 0


def rotation(settings: LogSettings) -> Rotation:
    """`max_bytes` bounds a file whatever `rotate` says."""
    if isinstance(settings.rotate, int):
        size_bytes = min(settings.rotate, settings.max_bytes)
        return Rotation(size_bytes=size_bytes, daily=False, keep=settings.keep)
    return Rotation(size_bytes=settings.max_bytes, keep=settings.keep)


class JobLog:
    def __init__(
        self, log_dir: str | os.PathLike[str], settings: LogSettings,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Opens both in a directory that exists.  Raises LogUnusable.

        `told` hears when one can't be written any more.
        """
        self._settings = settings
        self._jobs = LogFile(os.path.join(log_dir, JOBS), rotation(settings), told)
        self._errors = LogFile(os.path.join(log_dir, ERRORS), rotation(settings), told)
        self._refusals: dict[str, _Refusals] = {}

    def follow(self, settings: LogSettings) -> None:
        """From now on these settings."""
        self._settings = settings
        self._jobs.rotation = self._errors.rotation = rotation(settings)

    def announce(self, facts: Sequence[Fact]) -> None:
        """A line for each start, completion, retry, failure and cancellation among them."""
        lines, errors = bytearray(), bytearray()
        at = 0.0
        for fact in facts:
            at = fact.record.at
            for line in joblines.of(fact):
                text = self._encoded(line, at)
                lines += text
                if line.level == "ERROR":
                    errors += text
        self._write(lines, errors, at)

    def refused(self, peer: str, call: Mapping[str, Any], why: str, at: float) -> None:
        """A submission that the allow-list refused.  Beyond 10 a second of one peer: counted."""
        self.settle(at)
        recent = self._refusals.setdefault(peer, _Refusals(at))
        recent.count += 1
        if recent.count <= REFUSALS_PER_SECOND:
            self._error(joblines.of_refusal(peer, call, why), at)

    def settle(self, at: float) -> None:
        """Tells what was counted of seconds that are over; to be called now and then."""
        if self._refusals:
            for peer, recent in list(self._refusals.items()):
                # Back in time the clock was set: that second is over too.
                if not 0 <= at - recent.since < 1 or len(self._refusals) > _PEERS_MAX:
                    self._tell_count(peer, recent, at)

    def reopen(self) -> None:
        """After somebody moved the files away."""
        self._jobs.reopen()
        self._errors.reopen()

    def close(self, at: float) -> None:
        for peer, recent in list(self._refusals.items()):
            self._tell_count(peer, recent, at)
        self._jobs.close()
        self._errors.close()

    def _tell_count(self, peer: str, recent: _Refusals, at: float) -> None:
        del self._refusals[peer]
        unsaid = recent.count - REFUSALS_PER_SECOND
        if unsaid > 0:
            self._error(joblines.of_count(peer, unsaid), at)

    def _error(self, line: Line, at: float) -> None:
        text = self._encoded(line, at)
        self._write(text, text, at)

    def _encoded(self, line: Line, at: float) -> bytes:
        form = joblines.as_json if self._settings.format == "json" else joblines.as_text
        # What JSON lets pass but no file holds: half of a surrogate pair.
        return form(line, at, params=self._settings.params).encode(errors="backslashreplace")

    def _write(self, lines: bytes | bytearray, errors: bytes | bytearray, at: float) -> None:
        if lines:
            self._jobs.write(bytes(lines), at)
        if errors:
            self._errors.write(bytes(errors), at)
