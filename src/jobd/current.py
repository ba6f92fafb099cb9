"""The job that this process is, seen from inside.

Standard library only and Python 3.8 or newer: where jobd is not installed, the child lends this
very file to the job as its module `jobd`.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["current_job"]

_LATER = ("progress", "check_cancelled")


class CurrentJob:
    """Outside a job every fact is None, and the whole is false."""

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

    def __bool__(self) -> bool:
        return self.id is not None

    def __repr__(self) -> str:
        return f"<current_job {self.id} attempt={self.attempt}>" if self else "<no current job>"

    def __getattr__(self, name: str) -> NoReturn:
        if name in _LATER:
            raise AttributeError(f"current_job.{name} comes in a later release")
        raise AttributeError(f"current_job has no attribute {name!r}")


current_job = CurrentJob()


def __getattr__(name: str) -> NoReturn:
    """Of this module when it stands in for `jobd`."""
    if name in ("Retry", "Fail"):
        raise ImportError(f"jobd.{name} comes in a later release", name=__name__)
    if __name__ == "jobd" and name in ("Client", "AsyncClient", "run_background_job"):
        raise ImportError(f"jobd.{name}: jobd is not installed in this interpreter", name=__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
