"""Clients that submit, wait, cancel and remove without pause, and write down what they are told.

    python load.py SOCKET LEDGER_DIR SEED CLIENTS

Each client has a ledger of its own: what it wants before it asks, what it was told after.  Lines
on standard input steer them: `garbage` makes the journal grow, `calm` begins the end: nothing
new, every job is waited for, and what is left is asked for and listed.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from jobd.client import Client
from jobd.client.job import FINAL
from jobd.errors import Conflict, DaemonUnavailable, Draining

T = TypeVar("T")

DEEDS = str(Path(__file__).with_name("deeds.py"))
BATCH_MAX = 16
LOOK_S = 3.0  # of one `wait`: shorter than a client's patience over restarts
BALLAST = 250
BALLAST_BYTES = 8_000
GARBAGE = 8
GARBAGE_BYTES = 96_000
A_DAY_S = 86_400.0


class Ledger:
    """Lines that are in the file before the call returns."""

    def __init__(self, directory: str, name: str) -> None:
        self._fd = os.open(
            f"{directory}/client-{name}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600
        )

    def say(self, type: str, **facts: Any) -> None:
        line = {"type": type, "t": time.clock_gettime(time.CLOCK_BOOTTIME), **facts}
        os.write(self._fd, json.dumps(line).encode() + b"\n")


class Customer:
    """One client."""

    def __init__(self, jobs: Client, directory: str, name: str, seed: int) -> None:
        self.jobs = jobs
        self.directory = directory
        self.name = name
        self.dice = random.Random(f"{seed}-{name}")
        self.ledger = Ledger(directory, name)
        self.kept: list[str] = []  # told final, and not removed
        self._count = 0

    def work(self, calm: threading.Event) -> None:
        while not calm.is_set():
            wanted = [self._order() for _ in range(self.dice.randint(1, BATCH_MAX))]
            ids = self._submit(wanted)
            if self.dice.random() < 0.2:  # a repetition whose answer is long known
                self._submit_one(self.dice.choice(wanted))
            for id in ids:
                if self.dice.random() < 0.06:
                    self.cancel(id)
            self.see_through(ids)

    # Submissions.

    def _order(self) -> dict[str, Any]:
        """The fields of a job, and what it is to come to."""
        token = self._token()
        shape = self.dice.choices(
            ("plain", "family", "stranger", "hang", "stubborn"), (80, 6, 5, 5, 4)
        )[0]
        is_callable = shape == "plain" and self.dice.random() < 0.2
        failing = self.dice.choices((0, 1, 2, 9), (70, 14, 6, 10))[0]
        retries = self.dice.randint(0, 2) if failing == 9 else failing
        code = 1 if is_callable else self.dice.randint(2, 9)
        ends = "exception" if is_callable else "exit"
        fields: dict[str, Any] = {"retry_attempts": retries, "retry_delay": 0.05}
        if shape in ("hang", "stubborn"):
            ends, code, retries = "timeout", None, self.dice.randint(0, 1)
            fields |= {"timeout": 0.4, "kill_grace": 0.1, "retry_attempts": retries}
        failing = 1_000_000 if failing == 9 else failing
        work_s = self.dice.choice((0, 0, 0.05, 0.1, 0.3)) * self.dice.random()
        args = [self.directory, token, shape, round(work_s, 3), failing]
        if is_callable:
            fields |= {"target": "deeds:call", "args": args}
        else:
            words = [str(word) for word in (*args, code or 0)]
            fields |= {"command": [sys.executable, "-I", "-S", DEEDS, *words]}
        means = {"ends": ends, "code": code, "failing": failing, "retries": retries}
        if self.dice.random() < 0.15:
            fields["delay"] = means["delay"] = round(2 * self.dice.random(), 3)
        return {"request_id": token, "priority": self.dice.randint(1, 3), **fields, "means": means}

    def idle(self, size_bytes: int) -> dict[str, Any]:
        """A large job that is never to run: it is cancelled before its time."""
        means = {"ends": "exit", "code": 0, "failing": 0, "delay": A_DAY_S}
        args = ["x" * size_bytes]
        token = self._token()
        return {
            "target": "deeds:plain", "args": args, "delay": A_DAY_S, "request_id": token,
            "means": means,
        }  # fmt: skip

    def _token(self) -> str:
        self._count += 1
        return f"{self.name}-{self._count}"

    def _submit(self, wanted: list[dict[str, Any]]) -> list[str]:
        if self.dice.random() < 0.5:
            return [self._submit_one(one) for one in wanted]
        return self.submit_many(wanted)

    def _submit_one(self, wanted: dict[str, Any]) -> str:
        self._intend(wanted)
        job = persist(lambda: self.jobs.submit(**_fields(wanted)))
        return self._told(wanted, job.id, job.duplicate)

    def submit_many(self, wanted: list[dict[str, Any]]) -> list[str]:
        for one in wanted:
            self._intend(one)
        jobs = persist(lambda: self.jobs.submit_many([_fields(one) for one in wanted]))
        return [
            self._told(one, job.id, job.duplicate) for one, job in zip(wanted, jobs, strict=True)
        ]

    def _intend(self, wanted: dict[str, Any]) -> None:
        self.ledger.say("intent", token=wanted["request_id"], means=wanted["means"])

    def _told(self, wanted: dict[str, Any], id: str, duplicate: bool) -> str:
        self.ledger.say("told", token=wanted["request_id"], id=id, duplicate=duplicate)
        return id

    # What becomes of them.

    def cancel(self, id: str) -> None:
        self.ledger.say("cancel", id=id)
        try:
            persist(lambda: self.jobs.cancel(id))
        except Conflict:
            return  # it had ended

    def see_through(self, ids: list[str]) -> None:
        """Each is told final; most are then forgotten, some asked for once more."""
        left = set(ids)
        while left:
            waited = persist(lambda: self.jobs.wait(sorted(left), timeout=LOOK_S, any=True))
            for document in waited["jobs"]:
                if document["status"] in FINAL:
                    left.discard(document["id"])
                    self._note(document)
        for id in ids:
            if self.dice.random() < 0.3:
                self._ask(id)
            if self.dice.random() < 0.85:
                self.remove(id)
            else:
                self.kept.append(id)

    def look_back(self) -> None:
        """What it was told of a job holds to the end."""
        for id in self.kept:
            self._ask(id)

    def _ask(self, id: str) -> None:
        self._note(persist(lambda: self.jobs.status(id)))

    def remove(self, id: str) -> None:
        persist(lambda: self.jobs.remove(id))
        self.ledger.say("removed", id=id)

    def _note(self, document: dict[str, Any]) -> None:
        names = ("attempt", "outcome", "exit_code", "signal", "started_at", "finished_at")
        failure = document["failure"]
        self.ledger.say(
            "outcome", id=document["id"], status=document["status"], attempt=document["attempt"],
            attempts=[{name: each[name] for name in names} for each in document["attempts"]],
            failure=failure and failure["kind"],
        )  # fmt: skip


class Hoarder(Customer):
    """Has large jobs that never run: some lie there to the end, some only make garbage."""

    def hoard(self) -> None:
        for _ in range(0, BALLAST, 50):
            self.kept += self.submit_many([self.idle(BALLAST_BYTES) for _ in range(50)])

    def litter(self) -> None:
        ids = self.submit_many([self.idle(GARBAGE_BYTES) for _ in range(GARBAGE)])
        for id in ids:
            self.cancel(id)
        for document in persist(lambda: self.jobs.wait(ids))["jobs"]:
            self._note(document)
        for id in ids:
            self.remove(id)

    def give_up(self) -> None:
        for id in self.kept:
            self.cancel(id)

    def list_all(self) -> None:
        ids = persist(lambda: [job["id"] for job in self.jobs.list(limit=1000)])
        self.ledger.say("listed", ids=ids)


def persist(call: Callable[[], T]) -> T:
    """Asked until it is answered: a campaign is longer than a client's patience."""
    while True:
        try:
            return call()
        except (DaemonUnavailable, Draining, TimeoutError):
            time.sleep(random.uniform(0.02, 0.1))


def _fields(wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if name != "means"}


def main(socket: str, directory: str, seed: int, count: int) -> int:
    jobs = Client(socket)
    calm = threading.Event()
    hoarder = Hoarder(jobs, directory, "hoarder", seed)
    hoarder.hoard()
    customers = [Customer(jobs, directory, f"c{n}", seed) for n in range(count)]
    threads = [threading.Thread(target=each.work, args=(calm,)) for each in customers]
    threading.excepthook = _give_up
    for thread in threads:
        thread.start()
    print("busy", flush=True)
    for line in sys.stdin:
        if line == "garbage\n":
            hoarder.litter()
            print("littered", flush=True)
        elif line == "calm\n":
            break
    else:
        return 1  # the campaign is gone
    calm.set()
    for thread in threads:
        thread.join()
    hoarder.give_up()
    for each in (hoarder, *customers):
        each.look_back()
    hoarder.list_all()
    return 0


def _give_up(failed: threading.ExceptHookArgs) -> None:
    """A client that was told what it did not expect ends the campaign."""
    sys.__excepthook__(failed.exc_type, failed.exc_value, failed.exc_traceback)
    os._exit(1)


if __name__ == "__main__":
    # Without waiting for threads that nobody will ever answer.
    os._exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
