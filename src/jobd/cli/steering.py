"""The verbs of jobctl that change something: jobs that are there, and the daemon."""

from __future__ import annotations

import contextlib
import os
import time

from jobd.cli.arguments import (
    EXIT_TIMEOUT,
    Asked,
    Parser,
    UsageError,
    duration,
    ids,
    no_options,
    note,
    worded,
)
from jobd.cli.several import for_each
from jobd.client.connection import LATE_S, Connection
from jobd.client.patience import Patience
from jobd.client.protocol import ConnectionLost
from jobd.errors import Draining

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def cancel_options(parser: Parser) -> None:
    ids(parser)
    parser.add_argument("--force", action="store_true", help="kill, without asking first")


def cancel(asked: Asked) -> int:
    return for_each(asked, "cancel", _show_status, force=asked.force)


def retry_options(parser: Parser) -> None:
    ids(parser)
    parser.add_argument("--delay", metavar="T", type=duration, default=0.0, help="not before")


def retry(asked: Asked) -> int:
    return for_each(asked, "retry", _show_status, delay=asked.delay)


def remove(asked: Asked) -> int:
    return for_each(asked, "remove", lambda _: None)


def progress_options(parser: Parser) -> None:
    add = parser.add_argument
    add("fraction", metavar="FRACTION", type=worded(parse_fraction), help="0.4, or 40%%")
    add("message", metavar="MESSAGE", nargs="?", help="what is being done, for people to read")
    add("--id", metavar="ID", help="of the job; else $JOBD_JOB_ID, which is set inside it")


def progress(asked: Asked) -> int:
    id = asked.id or os.environ.get("JOBD_JOB_ID")
    if not id:
        raise UsageError("of which job?  JOBD_JOB_ID is set inside one; else --id")
    asked.client().progress(id, asked.fraction, asked.message)
    asked.tell({})
    return 0


def parse_fraction(text: str) -> float:
    """`0.4` or `40%`"""
    digits = text.removesuffix("%")
    try:
        number = float(digits) / (1 if digits == text else 100)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError(f"{text[:40]!r} is neither a number from 0 to 1 nor a percentage")
    return number


def ping(asked: Asked) -> int:
    answer = asked.client().ping()
    if not asked.tell(answer):
        config = answer["config"] or "no config: nothing is allowed"
        print(
            f"{answer['name']} {answer['version']} answers on {asked.where()}:"
            f" pid {answer['pid']}, since {answer['started_at']}, {config}"
        )
    return 0


def reload(asked: Asked) -> int:
    answer = asked.client().reload()
    if not asked.tell(answer):
        print_reloaded(answer)
    return 0


def print_reloaded(answer: dict[str, Any]) -> None:
    print(f"changed: {', '.join(answer['changed']) or 'nothing'}")
    if answer["restart"]:
        print(f"needs a restart: {', '.join(answer['restart'])}")


def drain_options(parser: Parser) -> None:
    parser.add_argument("--timeout", metavar="T", type=duration, help="124 when it has run out")
    parser.add_argument("--off", action="store_true", help="start jobs again")


def drain(asked: Asked) -> int:
    answer = asked.client().drain(asked.timeout, off=asked.off)
    if not asked.tell(answer):
        print("jobs are started again" if asked.off else f"{answer['running']} running")
    return EXIT_TIMEOUT if answer["running"] and not asked.off else 0


def upgrade_options(parser: Parser) -> None:
    parser.add_argument("--timeout", metavar="T", type=duration, help="124 when it has run out")


def upgrade(asked: Asked) -> int:
    deadline = None if asked.timeout is None else time.monotonic() + asked.timeout
    patience = Patience(deadline)
    while True:
        try:
            before, answer = _upgraded(asked.where(), deadline)
            break
        except (ConnectionLost, Draining) as error:  # another upgrade, a moment before this one
            time.sleep(patience.wait_after(error))
    with _connected(asked.where()) as connection:
        after = _answer(connection, "ping", deadline)
    if not asked.tell(answer):
        old, new = before["version"], after["version"]
        what = f"restarted as {new}" if old == new else f"upgraded: {old} → {new}"
        print(f"{what}, pid {after['pid']}")
    return 0


def _upgraded(socket: str, deadline: float | None) -> tuple[Any, Any]:
    """Who was there, and its answer, when it has made way: who calls now waits for the next."""
    with _connected(socket) as connection:
        before = _answer(connection, "ping", deadline)
        answer = _answer(connection, "upgrade", deadline)
        with contextlib.suppress(ConnectionLost):
            while True:
                connection.receive(_promised(deadline))
    return before, answer


def _connected(socket: str) -> contextlib.closing[Connection]:
    return contextlib.closing(Connection(socket))


def _answer(connection: Connection, method: str, deadline: float | None) -> Any:
    return connection.call(method, {}, _promised(deadline))


def _promised(deadline: float | None) -> float | None:
    """A connection waits some time longer than an answer is promised for; here none is."""
    return None if deadline is None else deadline - LATE_S


def shutdown_options(parser: Parser) -> None:
    parser.add_argument(
        "--now", action="store_false", dest="drain", help="don't wait for what runs"
    )


def shutdown(asked: Asked) -> int:
    asked.client().shutdown(drain=asked.drain)
    if not asked.tell({}):
        note(f"jobd on {asked.where()} stops")
    return 0


def _show_status(answer: dict[str, Any]) -> None:
    print(f"{answer['id']}  {answer['status']}")


VERBS = {
    "cancel": (cancel_options, cancel),
    "retry": (retry_options, retry),
    "remove": (ids, remove),
    "progress": (progress_options, progress),
    "ping": (no_options, ping),
    "reload": (no_options, reload),
    "drain": (drain_options, drain),
    "upgrade": (upgrade_options, upgrade),
    "shutdown": (shutdown_options, shutdown),
}
