"""A job in words: what it runs, when, how it ended.  Pure."""

from __future__ import annotations

import json
import shlex
import time
from datetime import datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_UNITS = (("d", 86400.0), ("h", 3600.0), ("m", 60.0))


def printable(text: str) -> str:
    """On one line, and nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def what(job: Mapping[str, Any]) -> str:
    """Its label, else what it runs."""
    return printable(job["label"]) if job.get("label") else runs(job)


def runs(job: Mapping[str, Any]) -> str:
    if job.get("command"):
        return printable(shlex.join(job["command"]))
    method = f"@{job['method']}" if job.get("method") else ""
    return printable(f"{job.get('target')}{method}")


def duration(seconds: float) -> str:
    """`0.42s`, `12s`, `3m05s`, `2h10m`, `4d03h`"""
    if seconds < 9.995:
        return f"{seconds:.2f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    for (unit, size), (_, below, name) in zip(
        _UNITS, (("h", 3600.0, "h"), ("m", 60.0, "m"), ("s", 1.0, "s")), strict=True
    ):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}{int(seconds % size // below):02}{name}"
    raise AssertionError(seconds)


def epoch(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def local(instant: str | None) -> str:
    """By the clock on the wall here, to the second."""
    if instant is None:
        return "–"
    return datetime.fromisoformat(instant).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def when(job: Mapping[str, Any], now: float | None = None) -> str:
    """The one moment of it that matters most: `for 3m05s`, `in 12s`, `2h10m ago`."""
    now = time.time() if now is None else now
    if job["finished_at"] is not None:
        return f"{duration(max(0.0, now - epoch(job['finished_at'])))} ago"
    if job["status"] == "running":
        stopping = f", stopping ({job['stopping']})" if job.get("stopping") else ""
        return f"for {duration(max(0.0, now - epoch(job['started_at'])))}{stopping}"
    wait_s = epoch(job["run_at"]) - now
    return f"in {duration(wait_s)}" if wait_s > 0 else "ready"


def ending(job: Mapping[str, Any]) -> str:
    """How an attempt or a job ended, briefly."""
    failure = job.get("failure")
    return printable(f"{failure['kind']}: {failure['message']}") if failure else ""


def percent(fraction: float) -> str:
    """100 % is said of what is done, and not before."""
    return f"{int(fraction * 100 + 1e-9)}%"


def progress(job: Mapping[str, Any]) -> str:
    """`40%, page 2 of 5`"""
    told = job.get("progress")
    if not told:
        return ""
    message = f", {printable(told['message'])}" if told.get("message") else ""
    return f"{percent(told['fraction'])}{message}"


def size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def one_line_json(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False))
