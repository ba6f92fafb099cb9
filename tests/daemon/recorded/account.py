"""What the daemon wrote, and what it told the world: read from its system calls alone."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from recorded.trace import Call, Event

# What ends an attempt, and the status that a line of the job log gives it.
ENDS = {
    "completed": "completed", "failed": "failed", "cancelled": "cancelled",
    "retried": "pending_retry", "interrupted": "pending_retry",
}  # fmt: skip
_LOGGED = re.compile(rb"\{\"id\":.*\}$")


class Fact(NamedTuple):
    """That somebody outside may know, or that something was done about."""

    what: str  # submitted, started, ended, removed, settled (and its outcome deleted)
    id: str
    attempt: int = 0


@dataclass
class Commit:
    first_seq: int
    line: bytes
    records: list[dict[str, Any]]
    begun: int  # the event with which its write began

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.records) - 1


class Account:
    def __init__(self, events: list[Event]) -> None:
        self.commits: list[Commit] = []
        self.told: list[tuple[int, Fact]] = []  # with the event after which it may be known
        # The records that say so, each with the event that began its write.  An attempt that
        # never ran is started and settled again, under the same number.
        self.where: defaultdict[Fact, list[tuple[int, int]]] = defaultdict(list)
        self.ended_as: dict[Fact, str] = {}  # the status of the job then
        self.never_ran: set[str] = set()
        self._lines: dict[str, bytes] = {}  # what follows the last newline, by file or socket
        self._asked: dict[tuple[str, int], tuple[str, dict[str, Any]]] = {}
        for at, (what, call) in enumerate(events):
            if what == "begin" and not call.failed:
                self._read(at, call)

    def _read(self, at: int, call: Call) -> None:
        match call.name:
            case "ftruncate" if "/state/journal/" in call.target:
                self._lines[call.target] = b""  # only what is no whole line is ever cut off
            case "write" if "/state/journal/" in call.target:
                for line in self._whole_lines(call.target, call):
                    self._commit(at, line)
            case "write" if call.target.endswith("/background_jobs.log"):
                for line in self._whole_lines(call.target, call):
                    self._logged(at, line)
            case "recvfrom" if call.result:
                for line in self._whole_lines(f"from {call.target}", call):
                    said = _object(line)
                    if "method" in said:
                        asked = (said["method"], said.get("params") or {})
                        self._asked[call.target, said["id"]] = asked
            case "sendto":
                for line in self._whole_lines(call.target, call):
                    self.told += [(at, fact) for fact in self._sent(call.target, _object(line))]
            case "sendmsg" | "recvmsg":
                assert "jsonrpc" not in call.text

    def _whole_lines(self, name: str, call: Call) -> list[bytes]:
        *lines, rest = (self._lines.get(name, b"") + call.written).split(b"\n")
        self._lines[name] = rest
        return lines

    def _commit(self, at: int, line: bytes) -> None:
        said = json.loads(line)
        if "records" not in said:
            return
        commit = Commit(said["seq"], line + b"\n", said["records"], at)
        assert commit.first_seq == self.written_seq + 1
        self.commits.append(commit)
        for seq, record in enumerate(commit.records, commit.first_seq):
            for fact in self._facts(record):
                self.where[fact].append((at, seq))

    def _facts(self, record: dict[str, Any]) -> Iterator[Fact]:
        type, id = record["type"], record["id"]
        attempt = record.get("attempt", 0)
        match type:
            case "submitted" | "removed":
                yield Fact(type, id)
            case "started":
                yield Fact(type, id, attempt)
            case "never_ran":
                self.never_ran.add(id)
                yield Fact("settled", id, attempt)
            case _ if type in ENDS:  # without an attempt if it was cancelled before the first
                attempt = (record.get("ended") or {}).get("attempt", 0)
                self.ended_as[Fact("ended", id, attempt)] = ENDS[type]
                yield from (Fact(what, id, attempt) for what in ("ended", "settled"))

    @property
    def written_seq(self) -> int:
        return self.commits[-1].last_seq if self.commits else 0

    def _logged(self, at: int, line: bytes) -> None:
        said = json.loads(_LOGGED.search(line)[0])
        if said["status"] == "running":
            self.told.append((at, Fact("started", said["id"], said["attempt"])))
        elif said["status"] in ENDS.values():
            fact = Fact("ended", said["id"], said["attempt"])
            waiting = Fact("ended", said["id"])
            self.told.append((at, fact if fact in self.where else waiting))

    def _sent(self, socket: str, said: dict[str, Any]) -> Iterator[Fact]:
        """To a client, or to the keeper."""
        match said:
            case {"request": "launch", "id": id, "attempt": attempt}:
                yield Fact("started", id, attempt)
            case {"request": "settle", "directory": directory}:
                id, _, attempt = directory.rpartition("/")[2].rpartition("-")
                yield Fact("settled", id, int(attempt))
            case {"jsonrpc": _, "id": number, "result": result}:
                method, params = self._asked[socket, number]
                if method == "submit":
                    yield Fact("submitted", result["id"])
                elif method == "submit_many":
                    yield from (Fact("submitted", job["id"]) for job in result["jobs"])
                elif method == "remove":
                    yield Fact("removed", params["id"])

    # Readings, by event.

    def known_seq(self) -> dict[int, int]:
        """By event: the last record that must be there from then on; only where it grows."""
        known: dict[int, int] = {}
        seq = 0
        for at, fact in self.told:
            saying = [said_seq for begun, said_seq in self.where.get(fact, ()) if begun < at]
            assert saying, f"{fact} was told before it was written"
            if saying[-1] > seq:
                seq = known[at] = saying[-1]
        return known


def _object(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:  # nobody's JSON: what wakes a loop, say
        return {}
    return said if isinstance(said, dict) else {}
