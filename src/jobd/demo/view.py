"""Shows a board as it changes: in place on a terminal, line by line elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from jobd.cli.render import STYLES
from jobd.demo.board import Board, Line

FRAMES_PER_S: Final = 12
LATEST_SHOWN: Final = 8
STATUS_WIDTH: Final = 13  # the longest: pending_retry


def watch(events: Iterable[Mapping[str, Any]], board: Board) -> None:
    """Until all jobs on the board have ended."""
    if on_terminal():
        _in_place(events, board)
    else:
        _line_by_line(events, board)


def on_terminal() -> bool:
    """One that can do more than print."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def say(text: str = "", style: str = "") -> None:
    """Whole, however narrow the terminal: what is said may be copied."""
    if on_terminal():
        Console(highlight=False).print(Text(text, style=style), soft_wrap=True)
    else:
        print(text, flush=True)


def _line_by_line(events: Iterable[Mapping[str, Any]], board: Board) -> None:
    for event in events:
        line = board.hear(event)
        # A log of a build shows what came of it; what merely begins is in jobd's own logs.
        if line and (line.status not in ("pending", "running") or line.more):
            print(f"{line.at_s:6.2f}s  {_told(line)}", flush=True)
        if board.over:
            return


def _in_place(events: Iterable[Mapping[str, Any]], board: Board) -> None:
    with Live(
        _Picture(board), console=Console(highlight=False), refresh_per_second=FRAMES_PER_S,
        transient=True,
    ):  # fmt: skip
        for event in events:
            board.hear(event)
            if board.over:
                return


class _Picture:
    """Drawn anew for each frame, by rich's own thread."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(),
        )  # fmt: skip
        self._task = self._progress.add_task("jobs ended", total=board.total)
        self._spinner = Spinner("line", style="cyan")

    def __rich__(self) -> RenderableType:
        board = self._board
        self._progress.update(self._task, completed=board.ended.total())
        return Group(
            self._progress.get_renderable(),
            Text(),
            self._running(),
            self._waiting(list(board.waiting.values())),
            Text(),
            *(_latest(line) for line in list(board.latest)[-LATEST_SHOWN:]),
        )

    def _running(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        for running in list(self._board.running.values()):
            attempt = f"attempt {running.attempt}" if running.attempt > 1 else ""
            grid.add_row(self._spinner, Text(running.label, style="bold"), Text(attempt))
        return grid if grid.row_count else Text("- nothing runs", style="dim")

    def _waiting(self, labels: list[str]) -> Text:
        if not labels:
            return Text("  nothing waits", style="dim")
        return _row(f"  {len(labels)} wait: {', '.join(labels)}", "dim")


def _latest(line: Line) -> Text:
    return _row(f"{line.at_s:6.2f}s  {_told(line)}", STYLES.get(line.status, ""))


def _row(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _told(line: Line) -> str:
    return f"{line.status:<{STATUS_WIDTH}}  {line.label}{f': {line.more}' if line.more else ''}"
