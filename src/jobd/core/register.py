"""All jobs there are: found by id, and listed newest first from any point.

The order of listing costs 8 bytes a job: pages of those whose numbers are close, sorted when
they are read.  Numbers are ordinals of the journal's records, so a page of 1,024 numbers
holds a few hundred jobs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter

from jobd.core.ids import ID_LENGTH, STEM_LENGTH
from jobd.core.job import Job

_PAGE_BITS = 10
_DRAWER = 2  # characters of a stem: 1,024 drawers, so that a short prefix reads one of them only


class Register:
    def __init__(self) -> None:
        self._drawers: dict[str, dict[str, Job]] = {}  # by the stem's beginning, then by the stem
        self._count = 0
        self._pages: dict[int, list[Job]] = {}
        self._order: list[int] = []  # the numbers of pages that hold something, ascending

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Job]:
        return (job for drawer in self._drawers.values() for job in drawer.values())

    def get(self, id: str) -> Job | None:
        """By the whole id."""
        job = self.of_stem(id[:STEM_LENGTH])
        return job if job is not None and job.id == id else None

    def of_stem(self, stem: str) -> Job | None:
        drawer = self._drawers.get(stem[:_DRAWER])
        return None if drawer is None else drawer.get(stem)

    def add(self, job: Job) -> None:
        stem = job.id[:STEM_LENGTH]
        drawer = self._drawers.setdefault(stem[:_DRAWER], {})
        assert stem not in drawer
        drawer[stem] = job
        self._count += 1
        page = job.number >> _PAGE_BITS
        if page not in self._pages:
            self._pages[page] = []
            insort(self._order, page)
        self._pages[page].append(job)

    def remove(self, job: Job) -> None:
        stem = job.id[:STEM_LENGTH]
        drawer = self._drawers[stem[:_DRAWER]]
        del drawer[stem]
        if not drawer:
            del self._drawers[stem[:_DRAWER]]
        self._count -= 1
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

        Of PREFIX_MIN characters at least.  Whole ids and stems are looked up; a shorter prefix
        reads the jobs of one drawer, a thousandth of them.
        """
        assert len(prefix) >= _DRAWER
        if len(prefix) >= STEM_LENGTH:
            job = self.of_stem(prefix[:STEM_LENGTH])
            found = job is not None and len(prefix) <= ID_LENGTH and job.id.startswith(prefix)
            return [job] if job is not None and found else []
        drawer = self._drawers.get(prefix[:_DRAWER], {})
        matching = (job for stem, job in drawer.items() if stem.startswith(prefix))
        return list(islice(matching, limit))


_NUMBER = attrgetter("number")
