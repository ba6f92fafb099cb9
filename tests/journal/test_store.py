"""What append has returned for is on the disk; after a failure nothing more is written."""

import asyncio
import errno
import os
import threading

import pytest

from jobd.core.records import VERSION
from jobd.errors import JournalFailed
from jobd.journal.format import encode
from jobd.journal.segments import STEP_BYTES

pytestmark = pytest.mark.anyio


async def until(condition, limit_s=5.0):
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.001)


async def test_what_was_appended_is_read_at_the_next_start(open_store, state_dir, make):
    store = open_store(state_dir)
    await store.append(1, [make.submitted(1), make.submitted(2)])
    await store.append(3, [make.started(1)])
    await store.aclose()

    again = open_store(state_dir)

    assert again.past == [make.submitted(1), make.submitted(2), make.started(1)]
    assert again.next_seq == 4


async def test_a_commit_is_one_write_and_one_sync_and_both_come_before_the_answer(
    open_store, state_dir, make, disk
):
    store = open_store(state_dir, files=disk)
    disk.done.clear()

    await store.append(1, [make.submitted(1), make.submitted(2)])

    name = f"{1:020d}.jsonl"
    assert disk.done == [f"write {name}", f"sync {name}"]


async def test_a_commit_that_the_system_takes_in_pieces_is_whole(open_store, state_dir, make, disk):
    disk.take_bytes = 7
    store = open_store(state_dir, files=disk)

    await store.append(1, [make.submitted(1)])

    await store.aclose()
    assert open_store(state_dir).past == [make.submitted(1)]


async def test_records_must_follow_one_another(open_store, state_dir, make):
    store = open_store(state_dir)

    with pytest.raises(AssertionError, match="record 2 where 1 is due"):
        await store.append(2, [make.submitted(2)])


async def test_every_name_is_on_the_disk_before_the_first_commit(open_store, state_dir, make, disk):
    open_store(state_dir, files=disk)

    name = f"{1:020d}.jsonl"
    marked = disk.done.index("sync jobd-state")
    made = disk.done.index(f"create {name}")
    assert disk.done.index(f"sync_directory {state_dir.parent.name}") < marked
    assert f"sync_directory {state_dir.name}" in disk.done[marked:made]
    assert disk.done[made:][1:4] == [f"write {name}", f"sync {name}", "sync_directory journal"]


async def test_what_was_read_is_synced_before_anybody_acts_on_it(open_store, state_dir, make, disk):
    """The last daemon may have died between its write and its sync."""
    store = open_store(state_dir, fsync="never")
    await store.append(1, [make.submitted(1)])
    store.close()

    open_store(state_dir, files=disk)

    assert f"sync {1:020d}.jsonl" in disk.done


async def test_a_full_segment_is_followed_by_another(open_store, state_dir, make):
    store = open_store(state_dir, segment_bytes=1000)
    for n in range(1, 31):
        await store.append(n, [make.submitted(n)])

    stats = store.stats()
    assert stats["segments"] > 3
    assert stats["seq"] == 30
    assert stats["bytes"] == sum(p.stat().st_size for p in store.directory.iterdir())
    await store.aclose()
    assert open_store(state_dir).past == [make.submitted(n) for n in range(1, 31)]


async def test_a_new_segment_and_its_name_are_on_the_disk_before_its_first_commit(
    open_store, state_dir, make, disk
):
    store = open_store(state_dir, segment_bytes=100, files=disk)
    await store.append(1, [make.submitted(1)])
    disk.done.clear()

    await store.append(2, [make.submitted(2)])

    old, new = f"{1:020d}.jsonl", f"{2:020d}.jsonl"
    assert disk.done == [
        f"sync {old}", f"create {new}", f"write {new}", f"sync {new}", "sync_directory journal",
        f"truncate {old}", f"write {new}", f"sync {new}",
    ]  # fmt: skip


async def test_a_sealed_segment_gives_back_the_room_that_it_had_reserved(
    open_store, state_dir, make
):
    store = open_store(state_dir, segment_bytes=100_000)
    store.promise(0, 0)
    await store.append(1, [make.submitted(1)])
    if store.stats()["room_bytes"] == 0:
        pytest.skip("this file system can't reserve room")
    reserved = os.stat(store.directory / f"{1:020d}.jsonl").st_blocks * 512
    assert reserved >= 100_000

    await store.rotate()

    assert store.sealed[0].path.stat().st_blocks * 512 <= 8192


async def test_whatever_fails_nothing_acknowledged_is_lost_and_nothing_more_is_written(
    open_store, state_dirs, make, disks
):
    """The disk fails at its n-th operation, for every n, and from then on."""
    fail_at = 0
    while True:
        disk = disks()
        disk.fail_at = fail_at
        state_dir = state_dirs()
        acknowledged = 0
        try:
            store = open_store(state_dir, segment_bytes=700, files=disk)
            for n in range(1, 9):
                await store.append(n, [make.submitted(n)])
                acknowledged = n
        except JournalFailed as failure:
            assert failure.exit_code == 111
        else:
            break
        if acknowledged:
            count = len(disk.done)
            with pytest.raises(JournalFailed):
                await store.append(acknowledged + 1, [make.started(1)])
            assert len(disk.done) == count
            store.close()
            again = open_store(state_dir)
            # The one that failed may be there too: nobody was told either way.
            past = [make.submitted(n) for n in range(1, len(again.past) + 1)]
            assert again.past == past
            assert len(past) - acknowledged in (0, 1)
            again.close()
        fail_at += 1
    assert fail_at > 30  # all of it was visited: two rotations among it


async def test_a_start_that_fails_half_way_can_be_repeated(open_store, state_dirs, make, disks):
    fail_at = 0
    while True:
        disk = disks()
        disk.fail_at = fail_at
        state_dir = state_dirs()
        try:
            open_store(state_dir, files=disk).close()
        except JournalFailed:
            assert open_store(state_dir).past == []
        else:
            break
        fail_at += 1
    assert fail_at >= 7


async def test_a_cut_that_fails_can_be_repeated(open_store, state_dirs, make, disks):
    fail_at = 0
    while True:
        state_dir = state_dirs()
        store = open_store(state_dir)
        await store.append(1, [make.submitted(1)])
        await store.aclose()
        with open(store.directory / f"{1:020d}.jsonl", "ab") as file:
            file.write(b'{"crc":"torn')
        disk = disks()
        disk.fail_at = fail_at
        try:
            store = open_store(state_dir, files=disk)
        except JournalFailed:
            assert open_store(state_dir).past == [make.submitted(1)]
        else:
            assert store.past == [make.submitted(1)]
            break
        fail_at += 1
    assert fail_at >= 3


async def test_an_append_that_was_cancelled_half_way_is_the_last_one(
    open_store, state_dir, make, disk
):
    store = open_store(state_dir, files=disk)
    gate = threading.Event()
    sync, disk.sync = disk.sync, lambda fd: (gate.wait(5), sync(fd))
    append = asyncio.create_task(store.append(1, [make.submitted(1)]))
    await until(lambda: f"write {1:020d}.jsonl" in disk.done[-1:])

    append.cancel()
    gate.set()

    with pytest.raises(asyncio.CancelledError):
        await append
    with pytest.raises(JournalFailed):
        await store.append(2, [make.submitted(2)])
    await store.aclose()


async def test_a_slow_sync_does_not_stop_the_loop(open_store, state_dir, make, disk):
    store = open_store(state_dir, files=disk)
    gate = threading.Event()
    sync, disk.sync = disk.sync, lambda fd: (gate.wait(5), sync(fd))

    append = asyncio.create_task(store.append(1, [make.submitted(1)]))
    await until(lambda: disk.done[-1] == f"write {1:020d}.jsonl")  # it does not return before…
    assert not append.done()
    gate.set()  # …and the loop is free to let it

    await append


async def test_a_quick_disk_is_waited_for_and_a_slow_one_is_not(open_store, state_dir, make, disk):
    store = open_store(state_dir, files=disk)
    threads = set()
    sync = disk.sync
    disk.sync = lambda fd: threads.add(threading.current_thread().name)
    for n in range(1, 500):
        await store.append(n, [make.submitted(n)])
        if "MainThread" in threads:
            break
    assert "MainThread" in threads

    slow = threading.Event()
    disk.sync = lambda fd: (slow.wait(0.005), sync(fd))
    for _ in range(3):
        await store.append(store.next_seq, [make.submitted(store.next_seq)])
    threads.clear()
    disk.sync = lambda fd: threads.add(threading.current_thread().name)
    await store.append(store.next_seq, [make.submitted(store.next_seq)])

    assert threads == {"jobd-journal_0"}
    assert store.stats()["flush_us"] > 150


# Syncs by the clock.


async def test_with_interval_a_lone_commit_is_synced_without_more_traffic(
    open_store, state_dir, make, disk
):
    store = open_store(state_dir, fsync="interval", interval_s=0.01, files=disk)
    disk.done.clear()

    await store.append(1, [make.submitted(1)])
    assert disk.done == [f"write {1:020d}.jsonl"]

    await until(lambda: store.stats()["syncs"] == 1)
    assert disk.done[-1] == f"sync {1:020d}.jsonl"


async def test_with_interval_nothing_is_synced_when_nothing_was_written(
    open_store, state_dir, make, disk
):
    store = open_store(state_dir, fsync="interval", interval_s=0.001, files=disk)
    await store.append(1, [make.submitted(1)])
    await until(lambda: store.stats()["syncs"] == 1)
    done = len(disk.done)
    ticks = iter(range(20))

    await until(lambda: next(ticks) == 19)  # many intervals later

    assert len(disk.done) == done


async def test_with_interval_a_sync_that_fails_is_told_without_traffic(
    open_store, state_dir, make, disk
):
    store = open_store(state_dir, fsync="interval", interval_s=0.001, files=disk)
    disk.fail_at = len(disk.done) + 1  # the write will do
    await store.append(1, [make.submitted(1)])

    async with asyncio.timeout(5):
        with pytest.raises(JournalFailed, match="Input/output error"):
            await store.watch()
    with pytest.raises(JournalFailed):
        await store.append(2, [make.submitted(2)])


@pytest.mark.parametrize("fsync", ["always", "interval", "never"])
async def test_closing_syncs(open_store, state_dir, make, disk, fsync):
    store = open_store(state_dir, fsync=fsync, files=disk)
    await store.append(1, [make.submitted(1)])

    await store.aclose()

    assert disk.done[-1] == f"sync {1:020d}.jsonl"


# Room.


PROMISED = 5 * STEP_BYTES
BLOCK = 1 << 16  # of any file system: room is had in whole ones
LONG = b'{"command":["true","%b"]}' % (b"x" * 20_000)


@pytest.fixture
def roomy(open_store, state_dir, disk):
    """A store that has promised room, on a disk that somebody else has filled since."""
    store = open_store(state_dir, segment_bytes=1000, files=disk)
    store.promise(PROMISED, 0)
    if store.stats()["room_bytes"] == 0:
        pytest.skip("this file system can't reserve room")
    disk.full = True
    return store


async def test_on_a_full_disk_what_was_promised_is_there_and_no_more(
    roomy, open_store, state_dir, make, disk
):
    spare = roomy.stats()["room_bytes"] - PROMISED

    assert roomy.has_room(spare)
    assert not roomy.has_room(spare + BLOCK)
    for n in range(1, 20):  # what runs ends all the same, beyond the size of a segment too
        await roomy.append(n, [make.submitted(n)], PROMISED - 1000 * n)
    assert roomy.stats()["segments"] == 1

    disk.full = False
    assert roomy.has_room(2 * PROMISED)
    for n in range(20, 25):
        await roomy.append(n, [make.submitted(n)], PROMISED)
    assert roomy.stats()["segments"] > 1
    await roomy.aclose()
    assert len(open_store(state_dir).past) == 24


async def test_room_that_fails_at_a_start_is_a_failed_journal(
    open_store, state_dir, disk, monkeypatch
):
    def fails(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    store = open_store(state_dir, files=disk)
    monkeypatch.setattr(disk, "reserve", fails)
    with pytest.raises(JournalFailed, match="Input/output error") as failed:
        store.promise(PROMISED, 0)
    assert failed.value.exit_code == 111


async def test_a_new_segment_has_room_for_its_first_line_beside_what_is_promised(
    open_store, state_dir, make, disk
):
    store = open_store(state_dir, segment_bytes=1000, files=disk)
    store.promise(PROMISED, 0)
    if store.stats()["room_bytes"] == 0:
        pytest.skip("this file system can't reserve room")
    await store.append(1, [make.submitted(1, call=LONG)], PROMISED)
    disk.size_max = PROMISED + len(LONG) + 900  # too little for a whole segment on top

    await store.append(2, [make.submitted(2, call=LONG)], PROMISED)

    assert store.stats()["segments"] == 2
    assert store.stats()["room_bytes"] >= PROMISED


async def test_what_is_promised_follows_the_jobs_there_are(roomy, make):
    room = roomy.stats()["room_bytes"]
    assert not roomy.has_room(room)

    await roomy.append(1, [make.submitted(1)], 0)

    assert roomy.has_room(room - 1000)


async def test_a_part_of_the_room_is_for_compaction_alone(open_store, state_dir, make, disk):
    store = open_store(state_dir, segment_bytes=100_000, files=disk)
    store.promise(0, 0)
    while store.stats()["segments"] == 1:
        await store.append(store.next_seq, [make.submitted(store.next_seq, call=LONG)], 0)
    [sealed] = store.sealed
    store.due(10 * sealed.size_bytes)  # all of it is still needed
    assert store.has_room(0)
    disk.full = True
    its_bytes = 2 * sealed.size_bytes
    spare = store.stats()["room_bytes"] - its_bytes

    assert store.has_room(spare)
    assert not store.has_room(spare + BLOCK)
    assert store.has_room(spare + its_bytes, compacting=True)


async def test_a_start_on_a_full_disk_finds_the_room_of_the_last_one(
    roomy, open_store, state_dir, make, disk
):
    await roomy.append(1, [make.submitted(1)], PROMISED)
    roomy.close()  # as a kill would

    again = open_store(state_dir, files=disk)
    again.promise(PROMISED, 0)

    assert again.past == [make.submitted(1)]
    assert again.has_room(0)
    assert not again.has_room(2 * STEP_BYTES)


async def test_a_start_that_cuts_off_a_torn_end_keeps_the_room(
    roomy, open_store, state_dir, make, disk
):
    await roomy.append(1, [make.submitted(1)], PROMISED)
    roomy.close()
    segment = state_dir / "journal" / f"{1:020d}.jsonl"
    whole = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(b'{"crc":"')

    disk.full = False  # nobody else is as quick as the next system call
    again = open_store(state_dir, files=disk)

    assert segment.stat().st_size == whole
    assert again.stats()["room_bytes"] >= PROMISED


async def test_a_start_gives_back_the_room_of_a_segment_that_was_not_sealed(
    open_store, state_dir, make
):
    store = open_store(state_dir)
    store.promise(PROMISED, 0)
    if store.stats()["room_bytes"] == 0:
        pytest.skip("this file system can't reserve room")
    await store.append(1, [make.submitted(1)], PROMISED)
    store.close()  # as a kill would, when the next one had just been made
    make.segment(state_dir / "journal", 2)

    again = open_store(state_dir)

    [sealed] = again.sealed
    assert sealed.path.stat().st_blocks * 512 <= 8192
    assert again.past == [make.submitted(1)]


async def test_a_start_on_a_full_disk_without_any_room_serves_without_accepting(
    open_store, state_dir, make, disk
):
    store = open_store(state_dir)
    await store.append(1, [make.submitted(1)])
    await store.aclose()
    disk.full = True

    again = open_store(state_dir, files=disk)
    again.promise(PROMISED, 0)

    assert again.past == [make.submitted(1)]
    assert not again.has_room(BLOCK)


async def test_where_room_cannot_be_reserved_submissions_are_accepted(
    open_store, state_dir, make, disk
):
    def unable(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    disk.reserve = unable
    store = open_store(state_dir, files=disk)

    assert store.has_room(1 << 20)
    assert not store.has_room(1 << 60), "there can't be that much"
    await store.append(1, [make.submitted(1)])


async def test_a_journal_of_an_older_version_is_gone_on_with_in_a_segment_of_its_own(
    open_store, state_dir, make, seal
):
    open_store(state_dir).close()
    segment = state_dir / "journal" / f"{1:020d}.jsonl"
    header = b'"journal":"jobd","version":1,"first_seq":1,"created_at":1763764800.25}'
    segment.write_bytes(seal(header) + encode(1, [make.submitted(1)]))
    before = segment.read_bytes()

    store = open_store(state_dir)
    assert store.past == [make.submitted(1)]
    assert store.stats()["segments"] == 1, "nothing is begun before there is something to say"
    await store.append(2, [make.submitted(2, idle_timeout=5.0)])
    await store.append(3, [make.submitted(3)])
    await store.aclose()

    assert segment.read_bytes() == before
    later = state_dir / "journal" / f"{2:020d}.jsonl"
    assert b'"version":%d,' % VERSION in later.read_bytes().splitlines()[0]
    again = open_store(state_dir)
    assert again.past == [
        make.submitted(1), make.submitted(2, idle_timeout=5.0), make.submitted(3),
    ]  # fmt: skip
    assert again.stats()["segments"] == 2


async def test_a_full_disk_keeps_nobody_from_going_on_in_an_older_segment(
    open_store, state_dir, make, seal, disk
):
    open_store(state_dir).close()
    segment = state_dir / "journal" / f"{1:020d}.jsonl"
    header = b'"journal":"jobd","version":1,"first_seq":1,"created_at":1763764800.25}'
    segment.write_bytes(seal(header) + encode(1, [make.submitted(1)]))
    store = open_store(state_dir, files=disk)
    store.promise(PROMISED, 0)
    disk.full = True
    await store.append(2, [make.completed(1)])
    assert store.stats()["segments"] == 1
    await store.aclose()
    assert open_store(state_dir).past == [make.submitted(1), make.completed(1)]
