"""The system calls that a journal is made of, behind one seam: a test can fail each of them.

Also the only place of the journal that knows that platforms differ.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Final

from jobd import linux

FULL: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
_BLOCK_BYTES: Final = 512  # stat(2): whatever the file system's own blocks are
_APPEND: Final = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Files:
    """Every failure is an OSError.  Descriptors are not inherited by children (PEP 446)."""

    def create(self, path: Path) -> int:
        """A new, empty file to append to; FileExistsError if there is one already."""
        return os.open(path, _APPEND | os.O_CREAT | os.O_EXCL, 0o600)

    def reopen(self, path: Path) -> int:
        """A file that exists, to append to."""
        return os.open(path, _APPEND)

    def write(self, fd: int, content: memoryview) -> int:
        """How many bytes were taken: perhaps not all."""
        return os.write(fd, content)

    def sync(self, fd: int) -> None:
        """Content and size are on the disk."""
        if sys.platform == "linux":
            os.fdatasync(fd)
        else:
            os.fsync(fd)

    def sync_directory(self, path: Path) -> None:
        """Names are on the disk.  Without it a crash may lose a file whose content was synced."""
        if sys.platform != "win32":  # NTFS journals names by itself, and has no call for it
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def truncate(self, fd: int, size_bytes: int) -> None:
        """Also gives back what was reserved beyond that size."""
        os.ftruncate(fd, size_bytes)

    def reserve(self, fd: int, offset: int, size_bytes: int) -> None:
        """Allocates; the file's size stays.  ENOSPC or EDQUOT if there is no room."""
        linux.fallocate_keep_size(fd, offset, size_bytes)

    def allocated_bytes(self, fd: int) -> int:
        """Of the file, what is reserved beyond its size included."""
        if sys.platform == "win32":
            return 0
        else:
            return os.fstat(fd).st_blocks * _BLOCK_BYTES

    def free_bytes(self, fd: int) -> int:
        """On its file system, as far as that can be told; others may take it meanwhile."""
        if sys.platform == "win32":
            return sys.maxsize
        else:
            found = os.fstatvfs(fd)
            return found.f_bavail * found.f_frsize

    def close(self, fd: int) -> None:
        os.close(fd)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def rmdir(self, path: Path) -> None:
        os.rmdir(path)

    def rename(self, path: Path, to: Path) -> None:
        """At once and whole.  What was at `to`, if anything, must be an empty directory."""
        os.rename(path, to)


FILES: Final = Files()
