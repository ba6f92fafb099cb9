"""What came of the story, each statement worked out from what the daemon answered.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from jobd.cli.wording import duration, ending, epoch, size
from jobd.client import Job, Unauthorized
from jobd.demo.story import NOT_LISTED, Document, Story, Told


class Finding(NamedTuple):
    held: bool  # it went as it should
    text: str
    quote: str | None = None  # a line of a log that shows it


class Findings:
    """Of one story, once all of its jobs have ended."""

    def __init__(self, story: Story, told: Told) -> None:
        self._story = story
        self._told = told
        self.parts = [self._of(job) for job in story.parts]
        self._attempts = [a for document in told.documents.values() for a in document["attempts"]]

    def all(self) -> Iterator[Finding]:
        yield self.surveyed()
        yield self.within_limit()
        # The others look at attempts; a job without any is all that there is to say of it.
        yield self._started_at_all(self._story.urgent) or self.overtaken()
        yield self._started_at_all(self._story.archive) or self.delayed()
        yield self._started_at_all(self._story.check) or self.retried()
        yield self._started_at_all(self._story.search) or self.timed_out()
        yield self.refused()
        yield self.repeated()

    def surveyed(self) -> Finding:
        results = [part["result"] for part in self.parts if part["status"] == "completed"]
        text = f"{len(results)} of {len(self.parts)} parts of the library were surveyed"
        unreadable = sum(len(result["unreadable"]) for result in results)
        if unreadable:
            text += f"; {unreadable} files are not Python as this interpreter knows it"
        for part in self.parts:
            if part["status"] != "completed":
                text += f"; {part['label']}: {part['status']}, {ending(part)}"
        return Finding(len(results) == len(self.parts), text)

    def within_limit(self) -> Finding:
        busiest, limit = _busiest(self._attempts), self._told.max_running
        return Finding(
            0 < busiest <= limit, f"at most {busiest} ran at the same time; max_running is {limit}"
        )

    def overtaken(self) -> Finding:
        """Priority goes before order of submission."""
        urgent = self._of(self._story.urgent)
        handed_in, started = epoch(urgent["submitted_at"]), _started(urgent)
        waiting = [
            part
            for part in self.parts
            if part["attempts"]
            and part["priority"] < urgent["priority"]
            and epoch(part["submitted_at"]) < handed_in < _started(part)
        ]
        ahead_of = [part for part in waiting if _started(part) > started]
        text = (
            f"{urgent['label']}: priority {urgent['priority']}, submitted last, started "
            f"{duration(started - handed_in)} later, before {len(ahead_of)} of the {len(waiting)} "
            "that had been waiting"
        )
        return Finding(bool(ahead_of) and len(ahead_of) == len(waiting), text)

    def delayed(self) -> Finding:
        archive = self._of(self._story.archive)
        waited_s = _started(archive) - epoch(archive["submitted_at"])
        exit_code = archive["attempts"][-1]["exit_code"]
        text = (
            f"{archive['label']}: delay {archive['delay']:g} s, started {waited_s:.3f} s after its "
            f"submission; {archive['command'][0]} ended with code {exit_code}"
        )
        on_time = waited_s >= archive["delay"] > 0
        return Finding(on_time and archive["status"] == "completed" and exit_code == 0, text)

    def retried(self) -> Finding:
        check = self._of(self._story.check)
        first, *later = check["attempts"]
        text = f"{check['label']}: attempt 1 ended with {ending(first) or 'success'}"
        if not later or check["status"] != "completed":
            return Finding(False, f"{text}; the job is {check['status']}")
        gap_s = epoch(later[0]["started_at"]) - epoch(first["finished_at"])
        result = check["result"]
        text += (
            f"; attempt 2 came {gap_s:.3f} s later (delay {check['retry_delay']:g} s); attempt "
            f"{later[-1]['attempt']} found {result['files']} files in "
            f"{size(result['archive_bytes'])}, {len(result['differing'])} of them other than "
            "installed"
        )
        sound = result["files"] > 0 and not result["differing"]
        return Finding(sound and gap_s >= check["retry_delay"], text)

    def timed_out(self) -> Finding:
        search = self._of(self._story.search)
        attempt = search["attempts"][-1]
        ran_s = epoch(attempt["finished_at"]) - epoch(attempt["started_at"])
        text = (
            f"{search['label']}: timeout {search['timeout']:g} s, ended after {ran_s:.3f} s with "
            f"{ending(attempt) or 'success'} (signal {attempt['signal']})"
        )
        if self._told.search_said:
            text += f"; its last line: {self._told.search_said}"
        return Finding(attempt["outcome"] == "timeout" and ran_s >= search["timeout"], text)

    def refused(self) -> Finding:
        refusal, unknown = self._story.refusal, self._told.listed - set(self._told.documents)
        if not isinstance(refusal, Unauthorized):
            return Finding(False, f"{NOT_LISTED} is not on the allow-list, and was not refused")
        logged = self._told.refusal_logged
        text = f"{NOT_LISTED}: refused with {refusal.code} ({refusal}), {len(unknown)} jobs made"
        if logged is None:
            text += ", not logged"
        return Finding(not unknown and logged is not None, text, logged)

    def repeated(self) -> Finding:
        once, again = self._story.urgent, self._story.repeated
        jobs, starts = len({once.id, again.id}), self._of(once)["attempt"]
        return Finding(
            jobs == starts == 1 and again.duplicate and not once.duplicate,
            f"{self._of(once)['label']}: submitted twice under one request_id; "
            f"jobs made: {jobs}, starts: {starts}",
        )

    def cost(self) -> str:
        documents = self._told.documents.values()
        cpu_s = sum(attempt["cpu_time"] or 0 for attempt in self._attempts)
        largest = max((attempt["max_rss"] or 0 for attempt in self._attempts), default=0)
        took_s = max(epoch(document["finished_at"]) for document in documents) - min(
            epoch(document["submitted_at"]) for document in documents
        )
        return (
            f"{len(documents)} jobs, {len(self._attempts)} attempts in {took_s:.2f} s; "
            f"{cpu_s:.2f} s of CPU time, the largest process {size(largest)}"
        )

    def counted(self, what: str) -> Counter[str]:
        """`imports` or `calls`, of all parts."""
        total: Counter[str] = Counter()
        for part in self.parts:
            total.update((part["result"] or {}).get(what, {}))
        return total

    def _of(self, job: Job) -> Document:
        return self._told.documents[job.id]

    def _started_at_all(self, job: Job) -> Finding | None:
        document = self._of(job)
        if document["attempts"]:
            return None
        return Finding(
            False,
            f"{document['label']}: {document['status']} without a start, {ending(document)}",
        )


def _started(document: Document) -> float:
    """When its first attempt began."""
    return epoch(document["attempts"][0]["started_at"])


def _busiest(attempts: list[dict[str, Any]]) -> int:
    """How many ran at once, at most.  One that ends as another starts leaves it its slot."""
    changes = [(epoch(attempt["started_at"]), 1) for attempt in attempts]
    changes += [(epoch(attempt["finished_at"]), -1) for attempt in attempts]
    return max(accumulate(change for _, change in sorted(changes)), default=0)
