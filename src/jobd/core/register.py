"""All jobs there are: found by id, and listed newest first from any point.

The order of listing costs 8 bytes a job: pages of those whose numbers are close, sorted when
they are read.  Numbers are ordinals of the journal's records, so a page of 1,024 numbers
holds a few hundred jobs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from operator import attrgetter

from jobd.core.ids import ID_LENGTH, STEM_LENGTH
from jobd.core.job import Job

_PAGE_BITS = 10


class Register:
    def __init__(self) -> None:
        self._by_stem: dict[str, Job] = {}
        self._pages: dict[int, list[Job]] = {}
        self._order: list[int] = []  # the numbers of pages that hold something, ascending

    def __len__(self) -> int:
        return len(self._by_stem)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._by_stem.values())

    def get(self, id: str) -> Job | None:
        """By the whole id."""
        job = self._by_stem.get(id[:STEM_LENGTH])
        return job if job is not None and job.id == id else None

    def of_stem(self, stem: str) -> Job | None:
        return self._by_stem.get(stem)

    def add(self, job: Job) -> None:
        assert job.id[:STEM_LENGTH] not in self._by_stem
        self._by_stem[job.id[:STEM_LENGTH]] = job
        page = job.number >> _PAGE_BITS
        if page not in self._pages:
            self._pages[page] = []
            insort(self._order, page)
        self._pages[page].append(job)

    def remove(self, job: Job) -> None:
        del self._by_stem[job.id[:STEM_LENGTH]]
        number = job.number >> _PAGE_BITS
        self._pages[number].remove(job)
        if not self._pages[number]:
            del self._pages[number], self._order[bisect_left(self._order, number)]

    def newest(self, before: int | None = None) -> Iterator[Job]:
        """Those with a number below `before`, the newest first.

        Jobs must not come or go while it is read: take what is needed inside one question.
        """
        end = None if before is None else bisect_right(self._order, before >> _PAGE_BITS)
        for number in reversed(self._order[:end]):
            for job in sorted(self._pages[number], key=_NUMBER, reverse=True):
                if before is None or job.number < before:
                    yield job

    def with_prefix(self, prefix: str, limit: int) -> list[Job]:
        """At most `limit` jobs whose ids begin so.

        Whole ids and stems are looked up; a shorter prefix, which only people type, reads
        through all of them (60 ms for a million).
        """
        if len(prefix) >= STEM_LENGTH:
            job = self._by_stem.get(prefix[:STEM_LENGTH])
            found = job is not None and len(prefix) <= ID_LENGTH and job.id.startswith(prefix)
            return [job] if job is not None and found else []
        matching = (job for stem, job in self._by_stem.items() if stem.startswith(prefix))
        return [job for job, _ in zip(matching, range(limit), strict=False)]


_NUMBER = attrgetter("number")
