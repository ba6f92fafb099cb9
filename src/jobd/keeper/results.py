"""What a process left in its attempt's directory, read with suspicion: a job can make any file."""

from __future__ import annotations

import errno
import os
import stat

from jobd.keeper.protocol import RESULT, RESULT_BYTES

_UNTOLD = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)
# How to open what a job may have put anything in place of.  Not all of them are there on every
# platform, nor is what they guard against.
SUSPICIOUS = 0
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    SUSPICIOUS |= getattr(os, _name, 0)


def read_result(directory: str) -> str | None:
    """Its text; None: nothing, no plain file, or more than a child of ours would write."""
    return read_plain(f"{directory}/{RESULT}", RESULT_BYTES)


def read_plain(path: str, bytes_max: int) -> str | None:
    """The text of a plain file of at most so many bytes; else None.

    Never waits, as opening a FIFO would, and follows no link.  OSError where it can't be told
    what is there, for want of descriptors, say.
    """
    try:
        fd = os.open(path, os.O_RDONLY | SUSPICIOUS)
    except OSError as exc:
        if exc.errno in _UNTOLD:
            raise
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        content = b""
        while len(content) <= bytes_max and (piece := os.read(fd, bytes_max + 1 - len(content))):
            content += piece
    finally:
        os.close(fd)
    return content.decode("utf-8", "replace") if len(content) <= bytes_max else None
