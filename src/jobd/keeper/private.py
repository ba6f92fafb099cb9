"""Directories that only their owner can enter."""

from __future__ import annotations

import contextlib
import os


def make_private(directory: str) -> None:
    """0700 at every level that is missing (`os.makedirs` has a mode for the last one only)."""
    parent = os.path.dirname(directory)
    if not os.path.isdir(parent):
        make_private(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
