"""The end of the demo: what was found, whether all went as told, and where to look further."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from jobd.cli.render import Column, facts, table
from jobd.cli.wording import duration, epoch
from jobd.demo.findings import Finding, Findings
from jobd.demo.home import Home
from jobd.demo.story import Document, Story
from jobd.demo.view import say

SHOWN_MAX: Final = 12  # parts of the library, those with the most lines first
OFTEN_MAX: Final = 8  # names that are imported, called

_COLUMNS: Final = (
    Column("PART"),
    Column("FILES", right=True, needs=60),
    Column("LINES", right=True),
    Column("FUNCTIONS", right=True, needs=90),
    Column("CLASSES", right=True, needs=100),
    Column("LONGEST FUNCTION", cut=True),
    Column("TOOK", right=True),
)


def tell_results(findings: Findings) -> None:
    """The library in a table, added up from the results of the jobs."""
    parts = [part for part in findings.parts if part["result"]]
    if not parts:
        return
    parts.sort(key=lambda part: -part["result"]["lines"])
    shown, rest = parts[:SHOWN_MAX], parts[SHOWN_MAX:]
    rows = [[str(part["label"]), *_counts([part]), _longest(part), _took([part])] for part in shown]
    for label, summed in ((f"{len(rest)} more", rest), ("all", parts)):
        rows.append([label, *_counts(summed), "", _took(summed)])
    say()
    table(_COLUMNS, rows)
    say()
    facts([
        ("longest function", _top(parts, "longest", "lines")),
        ("most complex", _top(parts, "complex", "by McCabe")),
        ("deepest nesting", _top(parts, "deepest", "blocks")),
        ("imported most", _often(findings, "imports")),
        ("called most", _often(findings, "calls")),
    ])  # fmt: skip


def tell_findings(found: Sequence[Finding], cost: str) -> None:
    say("\nWhat the daemon says of it\n", "bold")
    for finding in found:
        held = "ok " if finding.held else "NOT"
        say(f"  {held}  {finding.text}", "" if finding.held else "bold red")
        if finding.quote:
            say(f"       {finding.quote}", "dim")
    say(f"\n  {cost}")
    failed = sum(not finding.held for finding in found)
    if failed:
        say(f"\n  {failed} of {len(found)} did not go as they should.", "bold red")


def tell_where(home: Home, story: Story) -> None:
    """Each command can be copied as it stands."""
    say("\nLook further", "bold")
    say(f"\n  The daemon has stopped.  All that it wrote is in {home.path}")
    for title, lines in _commands(home, story):
        say(f"\n  # {title}", "dim")
        for line in lines:
            say(f"  {line}")


def _commands(home: Home, story: Story) -> Iterator[tuple[str, list[str]]]:
    jobd, config = _program("jobd"), ["--config", home.config]
    jobctl = [*_program("jobctl"), "--socket", home.socket]
    output = home.log_dir / "output" / story.check.id[:2] / story.check.id
    yield (
        "the job log; what failed or was refused; why the check failed at first",
        [
            _line("cat", home.log_dir / "background_jobs.log"),
            _line("cat", home.log_dir / "background_jobs_errors.log"),
            _line("cat", output / "1.stderr"),
        ],
    )
    yield (
        "the journal, from which the daemon rebuilds all that it knows",
        [
            _line(*jobd, "journal", "verify", *config),
            _line(*jobd, "journal", "stats", *config),
            _line(*jobd, "journal", "dump", *config),
        ],
    )
    yield (
        "start the daemon on it again; it says when it listens",
        [
            _line(*jobd, "run", *config) + " &",
        ],
    )
    yield (
        "then ask it, have it run something, stop it",
        [
            _line(*jobctl, "list", "--limit", 10),
            _line(*jobctl, "status", story.check.id),
            _line(*jobctl, "logs", story.search.id, "--tail", 3),
            _line(*jobctl, "run", "survey:package", "name=json"),
            _line(*jobctl, "shutdown"),
        ],
    )
    yield "remove it all", [_line("rm", "-r", home.path)]


def _line(*words: object) -> str:
    return shlex.join(map(str, words))


def _program(name: str) -> list[str]:
    """How a shell finds the one that belongs to this: by its name, where that leads there."""
    places = [os.path.dirname(os.path.abspath(sys.argv[0])), os.path.dirname(sys.executable)]
    own, found = shutil.which(name, path=os.pathsep.join(places)), shutil.which(name)
    if own is None:
        return [sys.executable, "-m", f"jobd.cli.{name}"]
    return [name] if found and os.path.samefile(found, own) else [own]


def _counts(parts: list[Document]) -> list[str]:
    results = [part["result"] for part in parts]
    return [
        f"{sum(result[name] for result in results):,}"
        for name in ("files", "lines", "functions", "classes")
    ]


def _longest(part: Document) -> str:
    lines, name, _ = part["result"]["longest"]
    return f"{name}, {lines} lines" if name else "none"


def _top(parts: list[Document], what: str, unit: str) -> str:
    most: list[Any] = max((part["result"][what] for part in parts), key=lambda most: most[0])
    figure, name, at = most
    return f"{figure} {unit}: {name or 'the module itself'}, {at}"


def _often(findings: Findings, what: str) -> str:
    most = findings.counted(what).most_common(OFTEN_MAX)
    return ", ".join(f"{name} {count:,}" for name, count in most)


def _took(parts: list[Document]) -> str:
    """Of the last attempts, one after another."""
    return duration(sum(epoch(p["finished_at"]) - epoch(p["started_at"]) for p in parts))
