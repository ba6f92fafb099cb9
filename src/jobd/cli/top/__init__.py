"""`jobctl top`: what runs now, what it costs, how far it is, what it last said."""

from __future__ import annotations

import asyncio
import os
import sys

from jobd.cli.arguments import Asked, Parser, note, worded
from jobd.durations import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.cli.top.glance import Glance

SAMPLE_S = 0.25  # between the two looks that a share of a processor takes
INTERVAL_MIN_S = 0.2
NO_LIBRARY = "for a live view, with keys to cancel and follow: pip install 'jobd[top]'"


def top_options(parser: Parser) -> None:
    parser.epilog = (
        "Live on a terminal, where textual is installed; else a look, and no more.  Keys: up and"
        " down, c cancels, f or Enter follows the output, ? tells all."
    )
    parser.add_argument(
        "--interval", metavar="T", type=worded(_interval), default=1.0,
        help="between two looks, at least 0.2 s; else 1 s",
    )  # fmt: skip


def top(asked: Asked) -> int:
    if asked.json:
        from jobd.cli.looking import running_jobs

        asked.tell(running_jobs(asked.client()))
        return 0
    asked.client().ping()  # where nobody answers, nothing is drawn
    if _is_live():
        try:
            from jobd.cli.top.screen import Top
        except ImportError as exc:
            if exc.name is None or exc.name.partition(".")[0] != "textual":
                raise
            note(NO_LIBRARY)
        else:
            return Top(asked.where(), asked.interval).run() or 0
    _print(asyncio.run(_glance(asked.where())))
    return 0


def _interval(text: str) -> float:
    seconds = parse_duration(text)
    if seconds < INTERVAL_MIN_S:
        raise ValueError(f"an interval is at least {INTERVAL_MIN_S:g} s")
    return seconds


def _is_live() -> bool:
    both = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    return both and os.environ.get("TERM", "dumb") != "dumb"


async def _glance(socket: str) -> Glance:
    from jobd.cli.top.glance import Watch

    watch = Watch(socket)
    try:
        await watch.look()
        await asyncio.sleep(SAMPLE_S)
        return await watch.look()
    finally:
        await watch.aclose()


def _print(glance: Glance) -> None:
    from jobd.cli import render
    from jobd.cli.top import rows

    print(rows.summary(glance))
    if not glance.jobs:
        return
    if sys.stdout.isatty():
        from shutil import get_terminal_size

        print()
        print("\n".join(rows.lines(glance.jobs, get_terminal_size().columns)))
        return
    columns = [render.Column(heading) for heading in (*rows.HEADINGS, "SAYS")]
    render.table(columns, [(*rows.cells(job), rows.says(job)) for job in glance.jobs])


VERBS = {"top": (top_options, top)}
