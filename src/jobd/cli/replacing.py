"""Replaces a file as a whole: whoever reads it, at any moment, finds the old or the new one."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from jobd.cli.arguments import UsageError


@contextmanager
def locked(path: str) -> Iterator[str]:
    """The file that `path` leads to through links; two editors with this take turns."""
    real = os.path.realpath(path)
    try:
        directory = os.open(os.path.dirname(real), os.O_RDONLY)
    except OSError as exc:
        raise UsageError(f"{real}: {exc.strerror}") from exc
    try:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(directory, fcntl.LOCK_EX)
        yield real
    finally:
        os.close(directory)


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path}: {exc}") from exc


def replace(path: str, text: str) -> None:
    """On disk when this returns; mode and owner stay."""
    temporary = None
    try:
        was = os.stat(path)
        directory = os.path.dirname(path)
        descriptor, temporary = tempfile.mkstemp(prefix=".jobd.toml.", dir=directory)
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            if sys.platform != "win32":
                if (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, was.st_uid, was.st_gid)
                os.fchmod(descriptor, was.st_mode & 0o7777)  # after chown, which clears bits
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
        temporary = None
        _sync_directory(directory)
    except OSError as exc:
        raise UsageError(f"{path}: not changed: {exc.strerror}") from exc
    finally:
        if temporary is not None:
            with suppress(OSError):  # the first error is the one to tell
                os.unlink(temporary)


def _sync_directory(path: str) -> None:
    if sys.platform != "win32":  # which can't open one
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
