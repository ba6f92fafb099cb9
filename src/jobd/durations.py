"""Durations and sizes as people write them: `1.5m`, `64MiB`."""

from __future__ import annotations

import re

DURATION_MAX_S = 100 * 365.25 * 86400  # 100 years, as in core.fields, which is slow to import

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_UNITS_BYTES: dict[str, int] = {"": 1, "B": 1} | {
    f"{letter}{ending}": base**power
    for power, letter in enumerate("KMGT", start=1)
    for ending, base in (("iB", 1024), ("", 1024), ("B", 1000))
}
_NUMBER_AND_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds.  `90`, `90s`, `1.5m`, `2h`, `1d`; ValueError says what is allowed."""
    match = _NUMBER_AND_UNIT.fullmatch(text.strip())
    unit = _UNITS_S.get(match[2]) if match else None
    if match is None or unit is None:
        raise ValueError(f"{_quoted(text)} is no duration: write 90, 90s, 1.5m, 2h or 1d")
    seconds = float(match[1]) * unit
    if seconds > DURATION_MAX_S:
        raise ValueError(f"{_quoted(text)} is more than 100 years")
    return seconds


def parse_size(text: str) -> int:
    """Bytes.  `1048576`, `64MiB`, `64M` (the same), `64MB` (powers of 1000), `1.5GiB`."""
    match = _NUMBER_AND_UNIT.fullmatch(text.strip())
    unit = _UNITS_BYTES.get(_canonical(match[2])) if match else None
    if match is None or unit is None:
        raise ValueError(f"{_quoted(text)} is no size: write 1048576, 512KiB, 64MiB or 2GiB")
    number, dot, fraction = match[1].partition(".")
    size = int(number.lstrip("0")[:20] or "0") * unit + (
        round(float(dot + fraction) * unit) if dot else 0
    )
    if size > 2**63 - 1:
        raise ValueError(f"{_quoted(text)} is more than any disk holds")
    return size


def _canonical(unit: str) -> str:
    """`mib`, `MIB` → `MiB`: nobody means millibytes."""
    return unit.upper().replace("I", "i")


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "…")
