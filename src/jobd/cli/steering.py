"""The verbs of jobctl that change something: jobs that are there, and the daemon."""

from __future__ import annotations

from jobd.cli.arguments import EXIT_TIMEOUT, Asked, Parser, duration, ids, no_options, note
from jobd.cli.several import for_each

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
    "ping": (no_options, ping),
    "reload": (no_options, reload),
    "drain": (drain_options, drain),
    "shutdown": (shutdown_options, shutdown),
}
