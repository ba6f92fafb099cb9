"""What is asked of the daemon by signals, and by the two methods that do the same."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobd.errors import Draining


class Wishes:
    def __init__(self) -> None:
        self.asked = asyncio.Event()  # to stop
        self.hurried = asyncio.Event()  # not to wait for what runs
        self.upgrading = False  # to stop in favour of the next image of the program
        self.reload = asyncio.Event()
        self.upgrade = asyncio.Event()  # to see whether there can be one

    def stop(self, drain: bool = True) -> None:
        """As SIGTERM; the second time, and without `drain`, what runs is not waited for."""
        if self.upgrading:  # too late for this image: the next one stops, with its own grace
            hold()
            signal.raise_signal(signal.SIGTERM)
            return
        if self.asked.is_set() or not drain:
            self.hurried.set()
        self.asked.set()

    def make_way(self) -> None:
        """The next image can take over.  Draining: the daemon is stopping for good."""
        if self.asked.is_set() and not self.upgrading:
            raise Draining("the daemon is stopping; there is nothing left to upgrade")
        self.upgrading = True
        self.asked.set()


@contextmanager
def heard(wishes: Wishes) -> Iterator[None]:
    """While inside, signals are heard on the loop."""
    loop = asyncio.get_running_loop()
    acts: dict[int, Callable[[], object]]
    acts = {signal.SIGTERM: wishes.stop, signal.SIGINT: wishes.stop}
    if sys.platform == "win32":
        for number, act in acts.items():
            signal.signal(number, lambda *_, act=act: loop.call_soon_threadsafe(act))
        yield
        for number in acts:
            signal.signal(number, signal.SIG_DFL)
    else:
        acts |= {signal.SIGHUP: wishes.reload.set, signal.SIGUSR2: wishes.upgrade.set}
        for number, act in acts.items():
            loop.add_signal_handler(number, act)
        # Those that were held while the image before this one made way.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, acts)
        try:
            yield
        finally:
            if not wishes.upgrading:
                for number in acts:
                    loop.remove_signal_handler(number)
            # Else they are held, but not by threads that have still to end: without a handler
            # a signal that one of those gets would kill.  The loop removes them when it closes.


def hold() -> None:
    """From now on signals wait for the next image of the program: what is held outlives an exec."""
    if sys.platform != "win32":
        held = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2}
        signal.pthread_sigmask(signal.SIG_BLOCK, held)
