"""The real daemon, as a child of the demo."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from jobd.client import Client
from jobd.demo.home import Home
from jobd.errors import CannotStart

READY: Final = " listens on "  # what the daemon says when it can be asked
STOP_MAX_S: Final = 20.0  # it stops jobs, whose kill_grace is 2 s, and syncs


class Service:
    """While inside, it serves; afterwards nothing of it runs, and `exit_code` says how it went."""

    def __init__(self, home: Home) -> None:
        self.client = Client(str(home.socket))
        self.exit_code: int | None = None
        self._home = home

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            # -P: or a file of the current directory could pass for a module.
            [sys.executable, "-P", "-m", "jobd.cli.jobd", "run", "--config", self._home.config],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            cwd=self._home.path, env=_environment(),
            # A Ctrl-C is the demo's, which then stops the daemon in good order.
            start_new_session=True,
        )  # fmt: skip
        assert self._process.stderr is not None
        self._says = self._process.stderr
        try:
            self._await_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.client.close()
        self._stop()
        if self.exit_code != 0 and kind is not KeyboardInterrupt:
            raise _fault(f"the daemon ended with code {self.exit_code}", self._says.read())

    def _await_ready(self) -> None:
        said = []
        for line in self._says:
            if READY.encode() in line:
                return
            said.append(line)
        raise _fault("the daemon did not start", b"".join(said))

    def _stop(self) -> None:
        """In good order, and waited for.  Never killed: what it runs would be left running."""
        self._process.terminate()
        try:
            with _undisturbed():
                self.exit_code = self._process.wait(STOP_MAX_S)
        except subprocess.TimeoutExpired:
            raise CannotStart(f"the daemon (pid {self._process.pid}) does not stop") from None


def _fault(what: str, said: bytes) -> CannotStart:
    return CannotStart(f"{what}: {said.decode(errors='replace').strip() or 'it said nothing'}")


def _environment() -> dict[str, str]:
    """Nothing that leads to the user's own jobd; all that it needs is in its config."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "JOBD_"))}


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C would leave half of it behind."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
