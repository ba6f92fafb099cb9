"""Instants as text: RFC 3339 in UTC, to the microsecond.  Reads no clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The years that RFC 3339 has, in UTC: an offset, or the rounding of a float, can lead out of them.
_EARLIEST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH).total_seconds()
_LATEST: Final = (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - _EPOCH).total_seconds()
# RFC 3339 is narrower than what `fromisoformat` takes: an offset is a must, and so are seconds.
_RFC3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def rfc3339(epoch_s: float) -> str:
    """`2024-11-12T15:45:00.123456Z`; the nearest that can be written, for one beyond all years."""
    instant = _EPOCH + timedelta(seconds=min(max(epoch_s, _EARLIEST), _LATEST))
    return instant.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_rfc3339(text: str) -> float:
    """Epoch seconds.  ValueError says what is wrong, a missing offset above all."""
    if not _RFC3339.fullmatch(text):
        raise ValueError("must be an RFC 3339 instant with offset, as 2026-01-31T08:00:00+01:00")
    try:
        epoch_s = (datetime.fromisoformat(text.upper()) - _EPOCH).total_seconds()
    except (ValueError, OverflowError) as exc:
        raise ValueError(f"no such instant: {exc}") from None
    if not _EARLIEST <= epoch_s <= _LATEST:
        raise ValueError("no such instant: beyond the years 1 to 9999 in UTC")
    return epoch_s
