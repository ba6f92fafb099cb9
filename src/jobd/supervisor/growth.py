"""Wakes those who follow a job's output; while nobody follows, nothing is watched."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, Self

from jobd import linux
from jobd.keeper.private import make_private

LOOK_S: Final = 0.1  # where there is no inotify
REST_S: Final = 0.02  # between two events of one job: so much later the second one is seen


class Growth:
    """One follower.  A context manager, too: `with outputs.watch(…) as growth`."""

    def __init__(self, watches: Watches, directory: str) -> None:
        self.directory = directory
        self._watches = watches
        self._event = asyncio.Event()

    async def grown(self) -> None:
        """Returns when something was written since the last return, or since the start.

        May return too often; never misses.
        """
        await self._event.wait()
        self._event.clear()

    def wake(self) -> None:
        self._event.set()

    def close(self) -> None:
        self._watches.leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Watches:
    """All followers, on one inotify descriptor that is there while there are any.

    Each watch is for one event, and is made anew after a rest.  So a flood keeps neither the
    daemon busy nor the others' events waiting in the queue.
    """

    def __init__(self) -> None:
        self._followers: dict[str, set[Growth]] = {}  # by directory
        self._inotify: linux.Inotify | None = None
        self._numbers: dict[int, str] = {}  # inotify's own, to directories
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, directory: str) -> Growth:
        """The directory is made: its job may not have started yet, and nothing may be missed."""
        growth = Growth(self, directory)
        followers = self._followers.setdefault(directory, set())
        followers.add(growth)
        if len(followers) == 1:
            with contextlib.suppress(OSError):  # no room: whoever reads will find nothing
                make_private(directory)
            self._arm(directory)
        return growth

    def leave(self, growth: Growth) -> None:
        followers = self._followers.get(growth.directory)
        if followers is None or growth not in followers:
            return
        followers.discard(growth)
        if followers:
            return
        del self._followers[growth.directory]
        for number in [n for n, d in self._numbers.items() if d == growth.directory]:
            del self._numbers[number]
            if self._inotify is not None:
                self._inotify.remove(number)
        if not self._followers:
            self.close()

    def close(self) -> None:
        """Nobody is woken any more."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._followers.clear()
        self._numbers.clear()

    def _arm(self, directory: str) -> None:
        try:
            if self._inotify is None:
                self._inotify = linux.Inotify()
                loop = asyncio.get_running_loop()
                loop.add_reader(self._inotify.fileno(), self._read, self._inotify)
            mask = linux.IN_MODIFY | linux.IN_CREATE | linux.IN_ONESHOT
            self._numbers[self._inotify.add(directory, mask)] = directory
        except OSError:  # not here, or the user's watches are used up, or it was removed
            self._tick()

    def _read(self, inotify: linux.Inotify) -> None:
        for event in inotify.read():
            if event.mask & linux.IN_Q_OVERFLOW:  # nobody knows whose watch is gone
                self._tick()
            elif event.mask & linux.IN_IGNORED:  # only now is the watch gone
                directory = self._numbers.pop(event.watch, None)
                if directory in self._followers:
                    self._wake(directory)
                    asyncio.get_running_loop().call_later(REST_S, self._rested, directory)

    def _rested(self, directory: str) -> None:
        if directory in self._followers and directory not in self._numbers.values():
            self._arm(directory)
            self._wake(directory)  # of what was written meanwhile; after the watch is there

    def _tick(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._timer = None
        self._wake_all()
        if self._followers:
            self._tick()

    def _wake_all(self) -> None:
        for directory in self._followers:
            self._wake(directory)

    def _wake(self, directory: str) -> None:
        for growth in self._followers[directory]:
            growth.wake()
