"""What the keeper leaves of attempts that are settled goes, in a worker thread.

The keeper has jobs to look after, and removes no more than it knows.  A job can leave a million
files in its attempt's directory; those are the daemon's to remove, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Final

from jobd.keeper import files

assert sys.platform != "win32"

# After its end is on record: the keeper is done with an ordinary directory in far less, and what
# was settled meanwhile is looked at together.
AFTER_S: Final = 1.0


class Sweep:
    def __init__(self) -> None:
        self._settled: list[str] = []
        self._looking = False

    def settled(self, directory: str) -> bool:
        """Whether somebody has to `look`.

        Attempts' numbers are never given out again, so nobody else will have that directory.
        """
        self._settled.append(directory)
        begins, self._looking = not self._looking, True
        return begins

    async def look(self) -> None:
        """None of the directories is there any more, but for what can't be removed: that is swept
        at the next start.
        """
        while self._settled:
            await asyncio.sleep(AFTER_S)
            directories, self._settled = self._settled, []
            await asyncio.to_thread(_discard, directories)
        self._looking = False


def _discard(directories: Iterable[str]) -> None:
    for directory in directories:
        files.discard(directory)  # one that is gone costs a look
