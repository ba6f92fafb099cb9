"""Running jobs as lines of text, two for each, as wide as the terminal and no wider.  Pure."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from jobd.cli import wording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd.cli.top.glance import Glance, Running

HEADINGS = ("ID", "JOB", "CPU", "MEMORY", "TIME", "DONE")
JOB = 1  # the column that gets what is left
RIGHT = {2, 3, 4, 5}
JOB_MIN = 16
GAP = "  "
BAR = 10
# Where there is no room for all: the first ones go first.
LEAST_NEEDED = (3, 2, 4)
UNSEEN = "-"


def summary(glance: Glance) -> str:
    told = f"{glance.running} of {glance.max_running} running, {glance.waiting} waiting"
    if len(glance.jobs) < glance.running:
        told += f", {len(glance.jobs)} shown"
    return f"{told}; nothing is started: {glance.held}" if glance.held else told


def cells(job: Running, *, bar: bool = False) -> tuple[str, ...]:
    """One for each heading."""
    cpu = job.cost.cpu if job.cost else None
    return (
        job.id,
        job.what,
        UNSEEN if cpu is None else f"{cpu:.0%}",
        UNSEEN if job.cost is None else wording.size(job.cost.memory),
        _time(job.elapsed_s) + ("" if job.timeout_s is None else f"/{_time(job.timeout_s)}"),
        _done(job.fraction, bar=bar),
    )


def says(job: Running) -> str:
    """What it, and what the daemon, has to say of it."""
    stopping = f"stopping ({job.stopping})" if job.stopping else ""
    return " · ".join(part for part in (stopping, job.message, job.line) if part)


def lines(jobs: Sequence[Running], width: int) -> list[str]:
    """A heading, then two lines for each job."""
    table = [HEADINGS, *(cells(job, bar=width >= 96) for job in jobs)]
    kept = list(range(len(HEADINGS)))
    widths = [max(cell_len(row[n]) for row in table) for n in kept]

    def room() -> int:
        fixed = sum(widths[n] for n in kept if n != JOB)
        return width - fixed - len(GAP) * (len(kept) - 1)

    for n in LEAST_NEEDED:
        if room() < JOB_MIN:
            kept.remove(n)
    widths[JOB] = max(room(), 4)
    drawn = []
    for number, row in enumerate(table):
        parts = [_fitted(row[n], widths[n], right=n in RIGHT) for n in kept]
        drawn.append(_fitted(GAP.join(parts), width))
        if number:
            drawn.append(_fitted(f"{GAP}{says(jobs[number - 1])}", width))
    return drawn


def _fitted(text: str, width: int, *, right: bool = False) -> str:
    """In exactly so many cells of the terminal, of which some characters take two."""
    excess = cell_len(text) - width
    if excess > 0:
        return set_cell_size(text, max(width - 1, 0)) + "…"[:width]
    return " " * -excess + text if right else text + " " * -excess


def _time(seconds: float) -> str:
    return f"{seconds:.0f}s" if seconds < 59.5 else wording.duration(max(seconds, 60.0))


def _done(fraction: float | None, *, bar: bool) -> str:
    if fraction is None:
        return ""
    percent = wording.percent(fraction)
    if not bar:
        return percent
    full = int(fraction * BAR)
    return f"{'█' * full}{'·' * (BAR - full)} {percent:>4}"
