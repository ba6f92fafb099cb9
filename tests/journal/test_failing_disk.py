"""Whatever the disk refuses, once or from then on: nothing acknowledged is lost by it."""

import errno
import itertools
import os

import pytest

from jobd.core.records import Kept, Submitted
from jobd.errors import JournalFailed
from jobd.journal.format import encode

pytestmark = pytest.mark.anyio


class Told:
    """A life of a store over every operation that it has, and what it was told is on the disk."""

    def __init__(self, make, open_store):
        self.make, self.open_store = make, open_store
        self.asked, self.acknowledged = set(), set()
        self.store = None

    async def submit(self, n):
        self.asked.add(self.make.id(n))
        await self.store.append(self.store.next_seq, [self.make.submitted(n)])
        self.acknowledged.add(self.make.id(n))

    async def live(self, state_dir, disk):
        """Cuts a torn end, fills segments, drops the oldest, stops, and starts again."""
        numbers = {self.make.id(n): n for n in range(1, 50)}
        self.store = self.open_store(state_dir, segment_bytes=700, files=disk)
        for n in range(11, 16):
            await self.submit(n)
        for _ in range(2):
            path, old = await self.store.oldest_ids()
            kept = [self.make.kept(numbers[id]) for id in old]
            await self.store.append(self.store.next_seq, kept)
            await self.store.drop(path)
        await self.submit(16)
        store, self.store = self.store, None
        await store.aclose()
        self.store = self.open_store(state_dir, segment_bytes=700, files=disk)
        await self.submit(17)
        await self.store.rotate()
        store, self.store = self.store, None
        await store.aclose()


def lay(make, state_dir):
    """Two segments and a torn end."""
    journal = state_dir / "journal"
    make.segment(journal, 1, [make.submitted(1)], [make.submitted(2)])
    path = make.segment(journal, 3, [make.submitted(3)])
    with path.open("ab") as file:
        file.write(encode(4, [make.submitted(4)])[:-9])
    (state_dir / "jobd-state").touch()
    return {make.id(n) for n in (1, 2, 3)}


def refusing(disk, at, *, once):
    """The disk refuses its operation number `at`, room that is asked for included."""
    count = itertools.count()
    plain, reserve = disk._do, disk.reserve

    def do(what, name):
        n = next(count)
        if n == at or (n > at and not once):
            disk.refused = what
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        plain(what, name)

    def write(fd, content):
        try:
            do("write", disk.names[fd])
        except OSError:
            os.write(fd, content[: len(content) // 2])  # a part of it arrived
            raise
        return os.write(fd, content)

    def reserve_or_not(fd, offset, size_bytes):
        do("reserve", disk.names[fd])
        reserve(fd, offset, size_bytes)

    disk.refused, disk._do, disk.write, disk.reserve = None, do, write, reserve_or_not
    return disk


@pytest.mark.parametrize("once", [True, False], ids=["once", "from then on"])
async def test_whichever_operation_fails_the_next_start_has_all_that_was_acknowledged(
    state_dirs, disks, make, open_store, once
):
    kinds = set()
    for at in itertools.count():
        state_dir = state_dirs()
        before = lay(make, state_dir)
        disk = refusing(disks(), at, once=once)
        told = Told(make, open_store)
        try:
            await told.live(state_dir, disk)
        except JournalFailed as failure:
            assert failure.exit_code == 111
        else:
            # Nor is it tried again: a second sync succeeds though the first has lost something.
            assert disk.refused is None, f"{disk.refused} failed, and it went on"
            break
        kinds.add(disk.refused)
        if told.store is not None:
            told.store.close()
        again = open_store(state_dir, segment_bytes=700)
        found = {record.id for record in again.past if type(record) in (Submitted, Kept)}
        assert before | told.acknowledged <= found <= before | told.asked
        await again.append(again.next_seq, [make.submitted(40)])
        await again.aclose()
        assert make.submitted(40) in open_store(state_dir).past
    assert kinds == {
        "create", "write", "sync", "sync_directory", "truncate", "reserve", "unlink",
    }  # fmt: skip
    assert at > 50


async def test_after_a_failure_nothing_more_is_written(state_dirs, disks, make, open_store):
    """However well the disk might be again."""
    for at in itertools.count():
        state_dir = state_dirs()
        lay(make, state_dir)
        disk = refusing(disks(), at, once=True)
        told = Told(make, open_store)
        try:
            await told.live(state_dir, disk)
        except JournalFailed:
            if told.store is None:
                continue  # it was not open, or was being closed
            done = list(disk.done)
            with pytest.raises(JournalFailed):
                await told.submit(41)
            assert disk.done == done
        if disk.refused is None:
            break
