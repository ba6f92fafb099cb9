"""A job that runs until the test lets it go, without anybody polling."""

from __future__ import annotations

import os
from pathlib import Path

from outside.waiting import until


class Gate:
    """A FIFO: who opens it to read waits for the one who opens it to write.

    For one job at a time: the second of two who wait together may find it closed again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    @property
    def command(self) -> list[str]:
        """To be submitted."""
        return ["/bin/cat", str(self.path)]

    def open(self) -> None:
        """Lets one waiter go, as soon as there is one."""

        def opened() -> bool:
            try:
                os.close(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:  # nobody waits yet
                return False
            return True

        until(opened)
