"""Draws tables: pleasant on a terminal, whole in a pipe.

rich is imported to draw on a terminal and for nothing else.  In a pipe nothing is cut off or
coloured, so that `jobctl list | grep` finds what is there.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

STYLES = {
    "running": "cyan",
    "pending_retry": "yellow",
    "completed": "green",
    "failed": "bold red",
    "cancelled": "magenta",
    "unauthorized": "bold red",
}
GAP = 2  # between columns
CUT_MIN = 6


class Column:
    __slots__ = ("cut", "heading", "needs", "right")

    def __init__(
        self, heading: str, *, right: bool = False, cut: bool = False, needs: int = 0
    ) -> None:
        self.heading = heading
        self.right = right
        self.cut = cut  # may be shortened where the terminal is narrow
        self.needs = needs  # columns of the terminal; left out on a narrower, or for want of room


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], *, title: str | None = None
) -> None:
    """Prints `rows` of printable text; a status is coloured wherever it stands."""
    lines = list(rows)
    if title:
        print()
    if sys.stdout.isatty():
        _rich_table(columns, lines, title)
    else:
        if title:
            print(title)
        _plain_table(columns, lines)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """`name  value`, one a line."""
    shown = list(pairs)
    if sys.stdout.isatty():
        _rich_facts(shown)
        return
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name:<{width}}  {value}".rstrip())


def _plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    cells = [_headings(columns), *rows]
    widths = [max(len(row[n]) for row in cells) for n in range(len(columns))]
    for row in cells:
        padded = [
            f"{cell:>{width}}" if column.right else f"{cell:<{width}}"
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        print("  ".join(padded).rstrip())


def _rich_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], title: str | None
) -> None:
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    console = _console()
    kept = [n for n, column in enumerate(columns) if console.width >= column.needs]
    widths = {n: max(cell_len(row[n]) for row in [_headings(columns), *rows]) for n in kept}

    def fixed() -> int:
        """What can't be cut, and the gaps."""
        return sum(widths[n] for n in kept if not columns[n].cut) + GAP * (len(kept) - 1)

    # rich would shorten them all alike, and half an id is no id.
    cuts = sum(min(widths[n], CUT_MIN) for n in kept if columns[n].cut)
    for n in [n for n in reversed(kept) if columns[n].needs]:
        if fixed() + cuts > console.width:
            kept.remove(n)
    room = console.width - fixed()
    drawn = Table(
        box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False,
        header_style="bold", title=title, title_justify="left", title_style="bold",
    )  # fmt: skip
    for n in kept:
        drawn.add_column(
            columns[n].heading, justify="right" if columns[n].right else "left", no_wrap=True,
            width=min(widths[n], max(room, CUT_MIN)) if columns[n].cut else widths[n],
        )  # fmt: skip
    for row in rows:
        drawn.add_row(*(Text(row[n], STYLES.get(row[n], ""), overflow="ellipsis") for n in kept))
    console.print(drawn)


def _headings(columns: Sequence[Column]) -> list[str]:
    return [column.heading for column in columns]


def _console() -> Console:
    """As wide as the terminal, which rich asks of none that calls itself dumb."""
    import shutil

    from rich.console import Console

    width, height = shutil.get_terminal_size()
    return Console(highlight=False, width=width, height=height)


def _rich_facts(pairs: Sequence[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(Text(name), Text(value, style=STYLES.get(value, "")))
    _console().print(grid)
