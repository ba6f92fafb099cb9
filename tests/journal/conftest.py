"""Journals to test with: records that follow one another, stores, and a disk that fails."""

import errno
import functools
import json
import math
import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from jobd.core import ids, lifecycle, records
from jobd.core.allow import Admitted
from jobd.core.commands import (
    AttemptEnded,
    AttemptNeverRan,
    Cancel,
    Keep,
    Remove,
    Retry,
    Submission,
    Submit,
)
from jobd.core.engine import Engine
from jobd.core.job import FINAL, Ended, Ending, Policy
from jobd.core.moment import Moment
from jobd.core.rules import Rules
from jobd.journal.files import Files
from jobd.journal.format import Header, encode, encode_header
from jobd.journal.store import Store

AT = 1763764800.25
CALL = json.dumps(
    {"target": "app.jobs:Größe", "method": None, "kwargs": {"n": 1.5, "crc": '{"crc":"'}},
    separators=(",", ":"), ensure_ascii=False,
).encode()  # fmt: skip


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


class Make:
    """Records as an engine would make them, one after the other."""

    @staticmethod
    def id(n: int) -> str:
        return ids.whole(ids.stem("uid:1000", str(n)), n)

    def submitted(self, n: int, call: bytes = CALL, **policy) -> records.Submitted:
        return records.Submitted(
            id=self.id(n), at=AT, by="uid:1000", call=call, policy=Policy(**policy), run_at=AT
        )

    def started(self, n: int, attempt: int = 1) -> records.Started:
        return records.Started(id=self.id(n), at=AT, attempt=attempt, boot_id="b", boot_at=1.5)

    def completed(self, n: int, result: bytes = b"null") -> records.Completed:
        ended = Ended(attempt=1, pid=7, started_at=AT, finished_at=AT + 1, outcome="completed")
        return records.Completed(id=self.id(n), at=AT + 1, ended=ended, result=result)

    def removed(self, n: int) -> records.Removed:
        return records.Removed(id=self.id(n), at=AT)

    def kept(self, n: int) -> records.Kept:
        return records.Kept(
            id=self.id(n), at=AT, number=n, by="uid:1000", call=CALL, policy=Policy(),
            submitted_at=AT, run_at=AT, status="pending", attempt=0, started_at=None,
            retries_left=3, interruptions=0, running=None, history=None,
        )  # fmt: skip

    def segment(self, directory: Path, first_seq: int, *commits) -> Path:
        """A sealed file, as another jobd would have written it."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{first_seq:020d}.jsonl"
        lines = [encode_header(Header(first_seq, AT))]
        seq = first_seq
        for commit in commits:
            lines.append(encode(seq, commit))
            seq += len(commit)
        path.write_bytes(b"".join(lines))
        return path


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()


@pytest.fixture(scope="session")
def seal() -> Callable[[bytes], bytes]:
    """A line whose checksum is right, whatever it says."""
    return lambda rest: b'{"crc":"%08x",%b\n' % (zlib.crc32(rest), rest)


@pytest.fixture(scope="session")
def state_dirs(tmp_path_factory) -> Callable[[], Path]:
    """A new place for a state directory at each call; nothing is there yet."""
    root = tmp_path_factory.mktemp("states")
    count = iter(range(1_000_000))
    return lambda: root / str(next(count))


@pytest.fixture
def state_dir(state_dirs) -> Path:
    return state_dirs()


@pytest.fixture
def open_store():
    """Opens a store, its past read; every one of them is closed at the end."""
    opened = []

    def open_it(state_dir: Path, *, read: bool = True, **options) -> Store:
        settings = {"fsync": "always", "interval_s": 60.0, "segment_bytes": 1 << 16, **options}
        store = Store.open(state_dir, **settings)
        opened.append(store)
        if read:
            try:
                store.past = [record for _, commit in store.recovered for record in commit]
            except Exception:
                store.close()  # as the end of the process would
                raise
        return store

    yield open_it
    for store in opened:
        store.close()


class Disk(Files):
    """Notes what is asked of it, and fails where it is told to."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.fail_at: int | None = None  # that operation and every later one
        self.fail_with = errno.EIO
        self.full = False  # no room for anything new
        self.size_max = math.inf  # no room for a file beyond that
        self.take_bytes: int | None = None  # at most so much in one write
        self.names: dict[int, str] = {}

    def _do(self, what: str, name: str) -> None:
        if self.fail_at is not None and len(self.done) >= self.fail_at:
            self.done.append(f"{what} failed")
            raise OSError(self.fail_with, os.strerror(self.fail_with))
        self.done.append(f"{what} {name}")

    def create(self, path):
        self._do("create", path.name)
        fd = super().create(path)
        self.names[fd] = path.name
        return fd

    def reopen(self, path):
        fd = super().reopen(path)
        self.names[fd] = path.name
        return fd

    def write(self, fd, content):
        if self.fail_at is not None and len(self.done) == self.fail_at:
            super().write(fd, content[: len(content) // 2])  # a torn write
        self._do("write", self.names[fd])
        return super().write(fd, content[: self.take_bytes])

    def sync(self, fd):
        self._do("sync", self.names[fd])
        super().sync(fd)

    def sync_directory(self, path):
        self._do("sync_directory", path.name)
        super().sync_directory(path)

    def truncate(self, fd, size_bytes):
        self._do("truncate", self.names[fd])
        super().truncate(fd, size_bytes)

    def reserve(self, fd, offset, size_bytes):
        end = offset + size_bytes
        if (self.full or end > self.size_max) and end > super().allocated_bytes(fd):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().reserve(fd, offset, size_bytes)

    def unlink(self, path):
        self._do("unlink", path.name)
        super().unlink(path)

    def rmdir(self, path):
        self._do("rmdir", path.name)
        super().rmdir(path)

    def rename(self, path, to):
        self._do("rename", path.name)
        super().rename(path, to)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def disks() -> type[Disk]:
    return Disk


class Life:
    """What an engine decides of random commands: commits, and the jobs as they are afterwards."""

    def __init__(self, seed: int, steps: int) -> None:
        self.engine = Engine(Rules(max_running=4, max_interruptions=1), boot_id="b")
        self.commits: list[tuple[int, list[records.Record]]] = []
        self._dice = random.Random(seed)
        self._now = Moment(AT, 100.0)
        for step in range(steps):
            self._now = Moment(self._now.wall + 1.5, self._now.boot + 1.5)
            admit = lambda _: Admitted(program="/bin/true")  # noqa: E731
            self._keep(self.engine.tick(self._now, admit, lambda _: True))
            self._step(step)
        self.records = [
            (seq + n, record) for seq, said in self.commits for n, record in enumerate(said)
        ]

    def _step(self, step: int) -> None:
        dice = self._dice
        jobs = sorted(self.engine.jobs, key=lambda job: job.number)
        final = [job.id for job in jobs if job.status in FINAL]
        running = sorted(self.engine.running)
        does = dice.choices(
            ("submit", "end", "never ran", "cancel", "retry", "remove", "keep"),
            (4, 5, 1, 2, 2, 1, 1),
        )[0]
        if does == "submit" or not jobs:
            # A request_id may be used again once its job was forgotten.
            stem = ids.stem("uid:0", str(dice.randrange(12)))
            policy = Policy(
                retry_attempts=dice.randrange(3), retry_delay=1.0,
                on_interrupt=dice.choice(["retry", "fail"]), timeout=dice.choice([None, 4.0]),
            )  # fmt: skip
            if self.engine.jobs.of_stem(stem) is None:
                call = b'{"command":["/bin/true"],"env":{"TOKEN":"hunter2"}}'
                submission = Submission(stem=stem, by="uid:0", call=call, policy=policy)
                self._decide(Submit((submission,)))
        elif does == "end" and running:
            ending = Ending(
                kind=dice.choice(["completed", "exit", "interrupted"]), exit_code=0, message="said",
                pid=7, ended_at=self._now.wall, result=b'{"n":1}',
            )  # fmt: skip
            job = self.engine.running[dice.choice(running)]
            self._decide(AttemptEnded(job.id, job.attempt, ending, jitter=0.5))
        elif does == "never ran" and running:
            job = self.engine.running[dice.choice(running)]
            self._decide(AttemptNeverRan(job.id, job.attempt))
        elif does == "cancel" and (waiting := [job.id for job in jobs if job.id not in final]):
            self._decide(Cancel(dice.choice(waiting), force=dice.random() < 0.5))
        elif does == "retry" and final:
            self._decide(Retry(dice.choice(final)))
        elif does == "remove" and final:
            self._decide(Remove(dice.choice(final)))
        elif does == "keep":
            self._decide(Keep((dice.choice(jobs).id,)))

    def _decide(self, command) -> None:
        self._keep(self.engine.decide(command, self._now))

    def _keep(self, decision) -> None:
        if decision.facts:
            self.commits.append((decision.facts[0].seq, [fact.record for fact in decision.facts]))

    def files(self, count: int) -> dict[str, list[bytes]]:
        """The lines of each segment, headers included, by the file's name."""
        size = -(-len(self.commits) // count)
        parts = [self.commits[n : n + size] for n in range(0, len(self.commits), size)]
        return {
            f"{part[0][0]:020d}.jsonl": [
                encode_header(Header(part[0][0], AT)), *(encode(*commit) for commit in part)
            ]
            for part in parts
        }  # fmt: skip

    def check(self, found, lost) -> None:
        """What must hold of the jobs that are left after these records were lost."""
        truth = {job.id: lifecycle.snapshot(job, 0.0) for job in self.engine.jobs}
        told = {}
        for seq, record in self.records:
            told.setdefault(record.id, []).append((seq, record))
        assert found.keys() <= told.keys(), "no job is made up"
        for id, history in told.items():
            there, (last_seq, last) = found.get(id), history[-1]
            left = [said for seq, said in history if seq not in lost]
            if len(left) == len(history):
                assert (id in found) == (id in truth)
                if id in truth and truth[id].status != "running":
                    assert there == truth[id]
            if last_seq not in lost and type(last) is records.Removed:
                assert there is None
            if there is None:
                continue
            if last_seq not in lost and id in truth and truth[id].status in FINAL:
                assert there.status == truth[id].status, "an end that is on record stays"
            if there.status == "completed":
                assert any(
                    type(said) is records.Completed or getattr(said, "status", "") == "completed"
                    for said in left
                ), "success is never made up"


@pytest.fixture(scope="session")
def life() -> Callable[[int, int], Life]:
    return functools.cache(Life)
