"""A file system of 24 MiB, mounted where only a namespace of its own sees it.

The namespace lives as long as its `holder`, so that daemons may die and start on the same disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SIZE_BYTES = 24 << 20
TMPFS = 'mount -t tmpfs -o size={size},mode=700 none "$0" && echo mounted && exec cat'
# No blocks are kept back for root, who would then be the one that finds room on a full disk.
EXT4 = 'mount -o loop "$0.image" "$0" && chmod 700 "$0" && echo mounted && exec cat'


class SmallDisk:
    def __init__(self, path: Path, kind: str) -> None:
        """Skips the test where there can be no such file system."""
        self.path = path
        path.mkdir()
        self._namespaces = ("--mount",)
        if kind == "tmpfs":
            self._namespaces = ("--user", "--mount")
            self._mount("-r", TMPFS.format(size=SIZE_BYTES))
        else:
            self._make_ext4(Path(f"{path}.image"))
            self._mount("", EXT4)
        self.seen = Path("/proc", str(self._holder.pid), "root", *path.parts[1:])

    @property
    def under(self) -> tuple[str, ...]:
        """What a command has to begin with to be run where the disk is."""
        options = [f"{name}=/proc/{self._holder.pid}/ns/{name[2:].replace('mount', 'mnt')}"
                   for name in self._namespaces]  # fmt: skip
        return ("nsenter", "--preserve-credentials", *options)

    def free_bytes(self) -> int:
        found = os.statvfs(self.seen)
        return found.f_bavail * found.f_frsize

    def take(self, size_bytes: int) -> None:
        """Somebody else takes some room."""
        with self._filler.open("ab", buffering=0) as file:
            file.write(bytes(size_bytes))

    def fill(self) -> None:
        """Somebody else takes all the room there is, to the last byte."""
        with self._filler.open("ab", buffering=0) as file:
            size = 1 << 16
            while size:
                try:
                    file.write(b"x" * size)
                    os.fsync(file.fileno())  # else ext4 finds out later how much it takes
                except OSError:
                    size //= 2

    def leave(self, room_bytes: int) -> None:
        """Of what somebody else took, so much is given back."""
        with self._filler.open("r+b") as file:
            file.truncate(file.seek(0, 2) - room_bytes)

    def free(self) -> None:
        """All of it is."""
        self._filler.unlink()

    def close(self) -> None:
        """The disk goes with the last process that is on it."""
        self._holder.communicate()

    @property
    def _filler(self) -> Path:
        return self.seen / "filler"

    def _make_ext4(self, image: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can mount an ext4")
        mkfs = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if mkfs is None:
            pytest.skip("mkfs.ext4 is not installed here")
        with image.open("wb") as file:
            file.truncate(SIZE_BYTES)
        subprocess.run([mkfs, "-q", "-m", "0", image], check=True, stdout=subprocess.DEVNULL)

    def _mount(self, user: str, script: str) -> None:
        unshare = shutil.which("unshare")
        if unshare is None or shutil.which("nsenter") is None:
            pytest.skip("unshare and nsenter are not installed here")
        argv = [unshare, *filter(None, [user]), "-m", "/bin/sh", "-c", script, str(self.path)]
        self._holder = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"mounted\n":
            _, why = self._holder.communicate()
            pytest.skip(f"no such file system can be mounted here: {why.decode().strip()}")
