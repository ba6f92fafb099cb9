"""Says whether the daemon kept its promises: `python judge.py LEDGER_DIR`; 0 if it kept them all.

A program by itself.  It knows what clients were told (`client-*.jsonl`), what the jobs wrote
down themselves (`jobs.jsonl`) and which processes were killed when (`killed.jsonl`), and of
jobd nothing at all: neither its code nor its files.  All instants are by the boot clock, except
those with a name in `_at`, which are the daemon's, by the wall clock.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

FINAL = {"completed", "failed", "cancelled"}
KINDS = {
    "lost": "told, and without a final outcome that anybody was told, or never run",
    "overlapping": "an attempt began while another of the same job lived",
    "rerun": "run again after an outcome that was kept",
    "doubled": "one submission, several jobs",
    "unknown": "a job that nobody asked for",
    "changed": "told two different outcomes",
    "wrong": "an outcome that is not what the job did",
    "early": "begun before its time",
    "unreadable": "a line of a ledger that is not whole",
}
CLOCKS_S = 0.1  # between an instant by the wall clock and one by the boot clock
EARLY_S = 0.01

Line = dict[str, Any]


class Judge:
    def __init__(self, directory: Path) -> None:
        self.found: list[tuple[str, str]] = []
        self.intents: dict[str, Line] = {}  # by token, the first of each
        self.ids: dict[str, set[str]] = defaultdict(set)  # by token
        self.tokens: dict[str, str] = {}  # by id
        self.outcomes: dict[str, list[Line]] = defaultdict(list)  # by id
        self.cancels: set[str] = set()
        self.removed: set[str] = set()
        self.listed: set[str] | None = None  # by a client, when all was over
        self.duplicates = 0
        self.starts: dict[str, list[Line]] = defaultdict(list)  # by id, as they were written
        self.ends: set[tuple[str, int]] = set()
        self.keeper_deaths_at: list[float] = []
        for path in sorted(directory.glob("client-*.jsonl")):
            for line in self._lines(path):
                self._hear_client(line)
        for line in self._lines(directory / "jobs.jsonl"):
            self._hear_job(line)
        for line in self._lines(directory / "killed.jsonl"):
            if line["what"] == "keeper":
                self.keeper_deaths_at.append(line["killed_at"])

    def blame(self, kind: str, why: str) -> None:
        assert kind in KINDS
        self.found.append((kind, why))

    # The ledgers.

    def _lines(self, path: Path) -> Iterator[Line]:
        if not path.exists():
            return
        for number, text in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
            try:
                if not text.endswith(b"\n"):
                    raise ValueError("cut short")
                yield json.loads(text)
            except ValueError as exc:
                self.blame("unreadable", f"{path.name}, line {number}: {exc}")

    def _hear_client(self, line: Line) -> None:
        match line["type"]:
            case "intent":
                self.intents.setdefault(line["token"], line)
            case "told":
                self.ids[line["token"]].add(line["id"])
                self.duplicates += line["duplicate"]
                if self.tokens.setdefault(line["id"], line["token"]) != line["token"]:
                    self.blame("wrong", f"job {line['id']} answers for two submissions")
            case "outcome":
                self.outcomes[line["id"]].append(line)
            case "cancel":
                self.cancels.add(line["id"])
            case "removed":
                self.removed.add(line["id"])
            case "listed":
                self.listed = set(line["ids"])

    def _hear_job(self, line: Line) -> None:
        id, attempt = line["id"], line["attempt"]
        match line["type"]:
            case "overlap":
                self.blame("overlapping", f"attempt {attempt} of job {id}: its lock was held")
            case "start":
                self.starts[id].append(line)
            case "end":
                self.ends.add((id, attempt))

    # The verdict.

    def judge(self) -> None:
        for token in self.intents:
            self._submission(token)
        for id, token in self.tokens.items():
            if token in self.intents:
                self._job(id, self.intents[token])
            else:
                self.blame("unknown", f"job {id} was told for {token}, which nobody submitted")
        ran_by_token: dict[str, set[str]] = defaultdict(set)
        for id, starts in self.starts.items():
            self._attempts(id, starts)
            for start in starts:
                ran_by_token[start["token"]].add(id)
        for token, ids in ran_by_token.items():
            if token in self.intents and len(ids | self.ids[token]) > 1:
                self.blame("doubled", f"{token} is jobs {', '.join(sorted(ids | self.ids[token]))}")
        self._list()

    def _submission(self, token: str) -> None:
        ids = self.ids.get(token, set())
        if not ids:
            self.blame("lost", f"submission {token} was never answered")
        elif len(ids) > 1:
            self.blame("doubled", f"{token} was told to be jobs {', '.join(sorted(ids))}")

    def _attempts(self, id: str, starts: list[Line]) -> None:
        """Those that began: of a known job, each once, one after the other."""
        token = self.tokens.get(id)
        if token is None:
            self.blame("unknown", f"job {id} ran, and no client was told of it")
        elif any(start["token"] != token for start in starts):
            self.blame("wrong", f"job {id} ran with another job's arguments")
        numbers = [start["attempt"] for start in starts]
        for number, times in Counter(numbers).items():
            if times > 1:
                self.blame("rerun", f"attempt {number} of job {id} began {times} times")
        if numbers != sorted(numbers):
            self.blame("overlapping", f"attempts of job {id} began in the order {numbers}")

    def _job(self, id: str, intent: Line) -> None:
        outcomes = self.outcomes.get(id)
        if not outcomes:
            self.blame("lost", f"no client was told an outcome of job {id}")
            return
        first = min(outcomes, key=lambda line: line["t"])
        if len({(o["status"], o["attempt"], json.dumps(o["attempts"])) for o in outcomes}) > 1:
            self.blame("changed", f"job {id} was told as {[o['status'] for o in outcomes]}")
        if first["status"] not in FINAL:
            self.blame("lost", f"job {id} was left {first['status']}")
            return
        for start in self.starts.get(id, ()):
            if start["t"] > first["t"] or start["attempt"] > first["attempt"]:
                self.blame(
                    "rerun",
                    f"attempt {start['attempt']} of job {id} began although it was "
                    f"{first['status']} after attempt {first['attempt']}",
                )
            if start["t"] < intent["t"] + intent["means"].get("delay", 0) - EARLY_S:
                self.blame("early", f"job {id}")
        self._agrees(id, intent["means"], first)

    def _agrees(self, id: str, means: Line, told: Line) -> None:
        """What was told is what the job did and meant to do."""
        began = {start["attempt"] for start in self.starts.get(id, ())}
        counted = 0
        for each in told["attempts"]:
            number, outcome = each["attempt"], each["outcome"]
            last = number == told["attempt"]
            if outcome == "interrupted":
                self._interrupted(id, each)
                continue
            if outcome == "cancelled":
                if id not in self.cancels or not last:
                    self.blame("wrong", f"attempt {number} of job {id} was cancelled by nobody")
                continue
            counted += 1
            if number not in began and outcome != "timeout":  # which may come before its first word
                self.blame("lost", f"attempt {number} of job {id} was told, and never began")
            if (outcome, each["exit_code"]) != _meant(means, number):
                self.blame(
                    "wrong",
                    f"attempt {number} of job {id} told as {outcome} with exit code "
                    f"{each['exit_code']}, meant {_meant(means, number)}",
                )
            if outcome == "completed" and (id, number) not in self.ends:
                self.blame("wrong", f"attempt {number} of job {id} completed, and never ended")
            if outcome == "completed" and not last:
                self.blame("rerun", f"job {id} went on after attempt {number} was completed")
        self._final(id, means, told, counted)

    def _final(self, id: str, means: Line, told: Line, counted: int) -> None:
        status = told["status"]
        if status == "cancelled":
            if id not in self.cancels:
                self.blame("wrong", f"job {id} was cancelled by nobody")
            return
        tries = 1 + means.get("retries", 0)
        last = told["attempts"][-1]["outcome"] if told["attempts"] else None
        if status == "completed" and (last != "completed" or told["failure"] is not None):
            self.blame("wrong", f"job {id} is completed, its last attempt {last}")
        if status == "failed" and (counted != tries or told["failure"] != last):
            self.blame("wrong", f"job {id} failed ({told['failure']}) after {counted} of {tries}")
        if status == "failed" and last == "interrupted":
            self.blame("lost", f"job {id} was given up after an interruption")
        if counted > tries:
            self.blame("rerun", f"job {id} was tried {counted} times, {tries} were asked for")

    def _interrupted(self, id: str, each: Line) -> None:
        """Only the death of its keeper interrupts an attempt; the daemon's ends nothing."""
        began_at, ended_at = _epoch(each["started_at"]), _epoch(each["finished_at"])
        if not any(
            began_at - CLOCKS_S <= death_at <= ended_at + CLOCKS_S
            for death_at in self.keeper_deaths_at
        ):
            self.blame(
                "rerun",
                f"attempt {each['attempt']} of job {id} was interrupted, and no keeper had died",
            )

    def _list(self) -> None:
        """What a client saw when all was over: what was told and not removed, and nothing else."""
        if self.listed is None:
            self.blame("lost", "nobody looked at the list when all was over")
            return
        for id in sorted(self.listed - set(self.tokens)):
            self.blame("unknown", f"job {id} is listed, and no client was told of it")
        for id in sorted(self.listed & self.removed):
            self.blame("changed", f"job {id} was removed, and is listed")
        for id in sorted(set(self.tokens) - self.removed - self.listed):
            self.blame("lost", f"job {id} was not removed, and is not listed")

    def summary(self) -> str:
        attempts = sum(map(len, self.starts.values()))
        told = [o[0] for o in self.outcomes.values()]
        interrupted = sum(a["outcome"] == "interrupted" for o in told for a in o["attempts"])
        statuses = Counter(o["status"] for o in told)
        said = ", ".join(f"{n} {status}" for status, n in sorted(statuses.items()))
        return (
            f"{len(self.intents)} submissions ({self.duplicates} told again), {len(self.starts)} "
            f"jobs ran in {attempts} attempts, {interrupted} interrupted; told: {said}"
        )


def _meant(means: Line, attempt: int) -> tuple[str, int | None]:
    """What the job's own doing leads to, and the exit code that goes with it."""
    if means["ends"] == "timeout":
        return "timeout", means["code"]
    if attempt <= means["failing"]:
        return means["ends"], means["code"]
    return "completed", 0


def _epoch(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def main() -> int:
    judge = Judge(Path(sys.argv[1]))
    judge.judge()
    for kind, why in judge.found:
        print(f"{kind}: {why}")
    counts = Counter(kind for kind, _ in judge.found)
    print(judge.summary())
    print("verdict: " + ", ".join(f"{counts[kind]} {kind}" for kind in KINDS))
    return 1 if judge.found else 0


if __name__ == "__main__":
    sys.exit(main())
