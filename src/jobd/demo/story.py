"""What the demo hands in, and what the daemon answers."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from jobd.client import Client, Job, Unauthorized
from jobd.demo.app.survey import STDLIB, TESTS
from jobd.demo.home import Home, archiver
from jobd.errors import CannotStart, RequestError

URGENT: Final = "asyncio"  # the package that cannot wait
ARCHIVED: Final = "email"
NOT_LISTED: Final = "os:system"

ARCHIVE_DELAY_S: Final = 2.0
CHECK_AGAIN_S: Final = 3.0  # when the archive should be there; if it is not, again so much later
SEARCH_S: Final = 1.5
SEARCH_LIMIT: Final = 300_000_000  # takes minutes: it cannot be done in time
LETTERS: Final = ("ac", "dg", "hp", "qs", "tz")  # of modules in no package: about equal shares

Document = dict[str, Any]


@dataclass
class Story:
    """Jobs by their part in it."""

    parts: list[Job]  # of the library; the urgent one is the last
    archive: Job
    check: Job
    search: Job
    urgent: Job
    repeated: Job  # what the urgent one's submission, sent once more, has led to
    refusal: RequestError | None
    labels: dict[str, str]  # by id

    @property
    def ids(self) -> list[str]:
        return list(self.labels)


@dataclass
class Told:
    """What the daemon says of it all, once every job has ended."""

    documents: dict[str, Document]  # by id, in the order of submission
    listed: set[str]  # ids of all jobs it knows
    max_running: int
    search_said: str  # the last line of its output
    refusal_logged: str | None  # the line in the log of errors


def begin(client: Client, home: Home) -> Story:
    """All is handed in: a batch, then what overtakes it, then what is refused."""
    packages = _packages()
    if URGENT not in packages or ARCHIVED not in packages:
        raise CannotStart(f"{STDLIB} is not the source of a standard library; nothing to survey")
    parts = [*_parts(packages)]
    others = [_check(home), _search(), _archive(home)]
    *jobs, check, search, archive = client.submit_many([*parts, *others])
    urgent_fields = {
        **_package(URGENT), "priority": 10, "request_id": "survey-asyncio",
        "label": f"package {URGENT}, urgent",
    }  # fmt: skip
    urgent = client.submit(**urgent_fields)
    repeated = client.submit(**urgent_fields)
    submitted = zip([*jobs, check, search, archive, urgent], [*parts, *others, urgent_fields],
                    strict=True)  # fmt: skip
    return Story(
        [*jobs, urgent], archive, check, search, urgent, repeated, _refusal(client),
        {job.id: str(fields["label"]) for job, fields in submitted},
    )  # fmt: skip


def ended(client: Client, home: Home, story: Story) -> Told:
    answer = client.wait(story.ids, timeout=0)
    output = client.logs(story.search.id, stream="stdout", tail=1)
    return Told(
        documents={document["id"]: document for document in answer["jobs"]},
        listed={document["id"] for document in client.list()},
        max_running=client.stats()["max_running"],
        search_said=output["data"].strip(),
        refusal_logged=_logged(home),
    )


def _packages() -> list[str]:
    """The largest first: so the last to run are short, and both slots end together."""
    sizes = {
        entry.name: _size(entry.path)
        for entry in os.scandir(STDLIB)
        if entry.name not in TESTS
        and not entry.name.startswith("__")
        and os.path.isfile(os.path.join(entry.path, "__init__.py"))
    }
    return sorted(sizes, key=lambda name: -sizes[name])


def _size(directory: str) -> int:
    files = itertools.chain.from_iterable(
        [os.path.join(place, name) for name in names] for place, _, names in os.walk(directory)
    )
    return sum(os.path.getsize(path) for path in files if path.endswith(".py"))


def _parts(packages: list[str]) -> Iterator[dict[str, Any]]:
    for first, last in LETTERS:
        yield {
            "target": "survey:modules", "kwargs": {"first": first, "last": last},
            "label": f"modules {first} to {last}",
        }  # fmt: skip
    yield from (_package(name) for name in packages if name != URGENT)


def _package(name: str) -> dict[str, Any]:
    return {"target": "survey:package", "kwargs": {"name": name}, "label": f"package {name}"}


def _archive(home: Home) -> dict[str, Any]:
    return {
        "command": [*archiver(), str(home.archive), ARCHIVED], "cwd": STDLIB, "priority": 5,
        "delay": ARCHIVE_DELAY_S, "label": f"archive {ARCHIVED}",
    }  # fmt: skip


def _check(home: Home) -> dict[str, Any]:
    """Comes too early: what it is to check is not there yet."""
    return {
        "target": "survey:check_archive", "priority": 5, "label": f"check archive of {ARCHIVED}",
        "kwargs": {"archive": str(home.archive.relative_to(home.path))},  # it runs there
        "retry_attempts": 5, "retry_delay": CHECK_AGAIN_S,
    }  # fmt: skip


def _search() -> dict[str, Any]:
    return {
        "target": "survey:Collatz", "method": "search", "kwargs": {"limit": SEARCH_LIMIT},
        "priority": 5, "retry_attempts": 0, "timeout": SEARCH_S, "label": "long search",
    }  # fmt: skip


def _refusal(client: Client) -> RequestError | None:
    """None: it was taken, which it should not have been."""
    try:
        client.submit(NOT_LISTED, args=["id"])
    except Unauthorized as refusal:
        return refusal
    return None


def _logged(home: Home) -> str | None:
    with open(home.log_dir / "background_jobs_errors.log", encoding="utf-8") as lines:
        return next((line.rstrip() for line in lines if f"attempt: {NOT_LISTED}" in line), None)
