"""Removes what attempts wrote, and counts what it takes on the disk."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

# The ends of an attempt's names.
ENDS: Final = ("stdout", "stderr", "order", "order.part")


def logged(remove: Callable[[T], None], what: T) -> None:
    """In a worker, whose failures nobody asks for."""
    try:
        remove(what)
    except OSError as exc:
        log.error("output_not_removed what=%r why=%r", what, str(exc))


def remove_job(directory: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)


def remove_attempt(stem: str) -> None:
    """`stem`: the paths of all its files begin so, `…/<attempt>.`"""
    for end in ENDS:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(stem + end)
    with contextlib.suppress(OSError):  # other attempts of the job have theirs there
        os.rmdir(os.path.dirname(stem))


def disk_bytes(status: os.stat_result) -> int:
    """Holes take none."""
    blocks: int | None = getattr(status, "st_blocks", None)  # not on every platform
    return status.st_size if blocks is None else blocks * 512


def size(stem: str) -> int:
    """Bytes on the disk, of all that one attempt has left."""
    total = 0
    for end in ENDS:
        with contextlib.suppress(OSError):  # none, mostly
            total += disk_bytes(os.lstat(stem + end))
    return total


def sizes(outputs: str) -> list[tuple[str, int, int]]:
    """(id, attempt, bytes on the disk) of every attempt that left something, the oldest first."""
    found: dict[tuple[str, int], tuple[float, int]] = {}
    for id, entry in _files(outputs):
        number, _, end = entry.name.partition(".")
        if number.isdecimal() and end in ENDS:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:  # removed meanwhile, or a job has shut its directory
                continue
            at, size = found.get((id, int(number)), (0.0, 0))
            found[id, int(number)] = max(at, status.st_mtime), size + disk_bytes(status)
    ordered = sorted(found.items(), key=lambda item: item[1])
    return [(id, attempt, size) for (id, attempt), (_, size) in ordered]


def _files(outputs: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    for prefix in _entries(outputs):
        for job in _entries(prefix.path):
            for file in _entries(job.path):
                yield job.name, file


def _entries(directory: str) -> list[os.DirEntry[str]]:
    """None where it can't be read: a job may have shut it, or put a link in its place."""
    try:
        return list(os.scandir(directory))
    except OSError:
        return []
