"""`jobctl run`: a job in place of a program, with its output, its exit code and Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading

from jobd.cli.arguments import EXIT_OF_RUN, EXIT_TIMEOUT, Asked, Parser, note
from jobd.cli.fields import field_options, submission_of
from jobd.cli.output import show
from jobd.cli.submitting import handed_in
from jobd.errors import Conflict, JobdError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from jobd.client.sync import Client

EXIT_FAILED = 1
EXIT_CANCELLED = 130


def run_options(parser: Parser) -> None:
    parser.usage = (
        "jobctl run TARGET [METHOD] [ARG… NAME=TEXT… NAME:=JSON…] [options]\n"
        "       jobctl run [options] -- PROGRAM [ARG…]"
    )
    parser.epilog = (
        "Exit code: the program's own; of a callable 0, or 1 when it failed; 128+n after signal n; "
        "124 the job's timeout; 126, 127 not executable, not found; 130 cancelled; 125 anything "
        "of jobd's own.  Ctrl-C cancels the job, a second one leaves it to itself."
    )
    parser.takes_program = True
    parser.add_argument("words", nargs="*", metavar="TARGET …", help="package.module:Name")
    field_options(parser)


def run(asked: Asked) -> int:
    """Not retried unless asked.  Where the connection is lost, goes on where it was."""
    client = asked.client()
    id = handed_in(client, {"retry_attempts": 0, **submission_of(asked)})["id"]
    with _Interrupts(client, id):
        if not asked.json:
            try:
                _show(client, id)
            except BrokenPipeError:
                note(f"nobody reads its output; job {id} is left to itself")
                raise
        document = client.wait([id])["jobs"][0]
    asked.tell(document)
    code = code_of(document)
    failure = document["failure"]
    # A program's own end shows in the exit code; that of a callable is lost in a 1.
    told = failure is not None and failure["kind"] in ("exit", "signal") and not document["target"]
    if failure is not None and not told:
        note(f"job {id} {document['status']}: {failure['message']}")
    return code


def _show(client: Client, id: str) -> None:
    """Each stream where the job wrote it, until it has ended."""
    for chunk in client.follow(id):
        show(chunk, sys.stderr if chunk["stream"] == "stderr" else sys.stdout)


def code_of(document: dict[str, Any]) -> int:
    """What a shell would have seen of the job's last attempt."""
    if document["status"] == "completed":
        return 0
    if document["status"] == "cancelled":
        return EXIT_CANCELLED
    failure = document["failure"]
    kind, code = failure["kind"], failure["exit_code"]
    if kind in ("signal", "memory", "cpu_time") and failure["signal"] is not None:
        return 128 + _signal_number(failure["signal"])
    if kind == "timeout":
        return EXIT_TIMEOUT
    if kind == "spawn":
        return code if code in (126, 127) else EXIT_OF_RUN
    if kind == "exception" or (kind == "exit" and document.get("target") is not None):
        return EXIT_FAILED
    if kind == "exit" and code is not None:
        return int(code) or EXIT_FAILED  # 0 may be no success, see `success_codes`
    return EXIT_OF_RUN


def _signal_number(name: str) -> int:
    """Of `SIGKILL`, and of `SIG40`, which has no name of its own."""
    digits = name.removeprefix("SIG")
    return int(digits) if digits.isdecimal() else signal.Signals[name].value


class _Interrupts:
    """The first Ctrl-C cancels the job, whose output is then followed to its end; the second
    leaves it as it is.

    The signal's handler leaves the asking to a thread, which asks again after a loss: the
    reading that it interrupts goes on as if nothing had been.
    """

    def __init__(self, client: Client, id: str) -> None:
        self._client = client
        self._id = id
        self._cancelling = False
        self._previous: Any = None

    def __enter__(self) -> None:
        self._previous = signal.signal(signal.SIGINT, self._interrupted)

    def __exit__(self, *ended: object) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        if self._cancelling:
            _say(f"job {self._id} is left to itself")
            raise KeyboardInterrupt
        self._cancelling = True
        _say(f"cancelling job {self._id}; again to leave it to itself")
        threading.Thread(target=self._cancel, daemon=True).start()

    def _cancel(self) -> None:
        try:
            self._client.cancel(self._id)
        except Conflict:  # it has ended
            return
        except JobdError as error:
            _say(f"job {self._id} goes on, it could not be cancelled: {error}")


def _say(message: str) -> None:
    """A note from inside a signal's handler, where sys.stderr may be in the middle of a write."""
    os.write(2, f"jobctl: {message}\n".encode())


VERBS = {"run": (run_options, run)}
