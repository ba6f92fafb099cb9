"""Compaction drops the oldest segments, never a job, and a crash in the middle loses nothing."""

import asyncio

import pytest

from jobd.clock import SystemClock
from jobd.compaction import Compaction
from jobd.core.commands import Cancel, Keep, Remove, Submission, Submit
from jobd.core.engine import Engine
from jobd.core.job import Policy
from jobd.core.moment import Moment
from jobd.core.rules import Rules
from jobd.daemon import Daemon
from jobd.journal.recovery import Reading

pytestmark = pytest.mark.anyio

NOW = Moment(1763764800.0, 1.0)
CALL = b'{"command":["/bin/true"],"label":"{\\"type\\":\\"submitted\\""}'


class Served:
    """An engine and its store, as the daemon couples them."""

    def __init__(self, store, past=()):
        self.store = store
        self.engine = Engine(Rules(max_running=1), boot_id="b")
        for seq, records in past:
            self.engine.replay(seq, records)

    async def execute(self, command):
        decision = self.engine.decide(command, NOW)
        if decision.facts:
            records = [fact.record for fact in decision.facts]
            await self.store.append(decision.facts[0].seq, records)
        return decision.answer

    async def submit(self, count):
        submissions = tuple(
            Submission(stem=f"{self.store.next_seq + n:012d}".replace("1", "z"), by="uid:0",
                       call=CALL, policy=Policy(), delay_s=9.0)
            for n in range(count)
        )  # fmt: skip
        return [one.id for one in await self.execute(Submit(submissions))]

    async def compact_once(self):
        path, ids = await self.store.oldest_ids()
        await self.execute(Keep(tuple(ids)))
        await self.store.drop(path)


@pytest.fixture
def serve(open_store):
    def serve_it(state_dir, **options):
        store = open_store(state_dir, read=False, segment_bytes=2000, **options)
        return Served(store, store.recovered)

    return serve_it


def jobs(engine):
    return {
        job.id: (job.call, job.policy, job.by, job.run_at, job.status, job.submitted_at)
        for job in engine.jobs
    }


async def test_all_jobs_outlive_the_segments_that_they_began_in(serve, state_dir):
    served = serve(state_dir)
    for _ in range(20):
        await served.submit(3)
    before = jobs(served.engine)
    first = served.store.sealed[0].path

    for _ in range(len(served.store.sealed)):
        await served.compact_once()

    assert not first.exists()
    served.store.close()
    again = serve(state_dir)
    assert jobs(again.engine) == before
    assert len(before) == 60


async def test_compaction_ends_when_mostly_what_is_needed_is_left(serve, state_dir):
    served = serve(state_dir)
    for round in range(40):
        for id in await served.submit(3):
            if round % 4:
                await served.execute(Cancel(id))
                await served.execute(Remove(id))
    before = jobs(served.engine)
    largest = served.store.stats()["bytes"]
    rounds = 0

    while served.store.due(served.engine.live_bytes):
        await served.compact_once()
        rounds += 1
        assert rounds < 100, "it says again what it has just said"

    assert rounds > 0
    assert served.store.stats()["bytes"] < largest
    assert jobs(served.engine) == before
    assert len(before) == 30


async def test_compaction_ends_also_where_jobs_are_reckoned_much_too_small(serve, state_dir):
    served = serve(state_dir)
    for _ in range(30):
        await served.submit(3)
    before = jobs(served.engine)
    rounds = 0

    while served.store.due(served.engine.live_bytes // 50):
        await served.compact_once()
        rounds += 1
        assert rounds < 100, "it says again what it has just said"

    assert rounds > 0
    assert jobs(served.engine) == before


def test_a_small_journal_is_left_alone(serve, state_dir):
    assert not serve(state_dir).store.due(0)


@pytest.mark.parametrize("crash_after", ["nothing", "oldest_ids", "keep", "drop"])
async def test_a_crash_in_the_middle_of_compaction_loses_no_job(serve, state_dir, crash_after):
    served = serve(state_dir)
    for _ in range(20):
        await served.submit(3)
    before = jobs(served.engine)

    for _ in range(3):
        if crash_after != "nothing":
            path, ids = await served.store.oldest_ids()
        if crash_after in ("keep", "drop"):
            await served.execute(Keep(tuple(ids)))
        if crash_after == "drop":
            await served.store.drop(path)
        served.store.close()
        served = serve(state_dir)
        assert jobs(served.engine) == before


async def test_the_segment_goes_before_its_name_is_forgotten_and_after_what_replaces_it(
    serve, state_dir, disk
):
    served = serve(state_dir, files=disk, fsync="never")
    for _ in range(8):
        await served.submit(3)
    disk.done.clear()

    await served.compact_once()

    write = max(n for n, done in enumerate(disk.done) if done.startswith("write"))
    sync = max(n for n, done in enumerate(disk.done) if done.startswith("sync 0"))
    unlink = disk.done.index(f"unlink {1:020d}.jsonl")
    assert write < sync < unlink
    assert disk.done[unlink + 1] == "sync_directory journal"


async def test_only_the_oldest_segment_can_be_dropped(serve, state_dir):
    served = serve(state_dir)
    for _ in range(12):
        await served.submit(3)

    with pytest.raises(AssertionError, match="oldest first"):
        await served.store.drop(served.store.sealed[1].path)


async def test_compaction_that_is_under_way_ends_with_the_daemon(serve, state_dir):
    """It may wake once more before it is cancelled, and is then told that nothing is decided."""
    served = serve(state_dir)
    for _ in range(20):
        await served.submit(3)
        for job in list(served.engine.jobs)[1:]:
            await served.execute(Cancel(job.id))
            await served.execute(Remove(job.id))
    daemon = Daemon(
        engine=served.engine, journal=served.store, clock=SystemClock(),
        admit=lambda _: None, act=lambda _: None, announce=lambda _: None,
    )  # fmt: skip
    compaction = Compaction(daemon, served.store)
    segments = served.store.sealed
    assert served.store.due(served.engine.live_bytes)
    compaction.look()
    daemon.close()

    async with asyncio.timeout(10):
        await compaction.run()

    assert served.store.sealed == segments


async def test_a_compacted_journal_reads_as_sound(serve, state_dir):
    served = serve(state_dir)
    for _ in range(20):
        await served.submit(3)
    await served.compact_once()

    reading = Reading(served.store.directory)
    assert sum(1 for _ in reading) == reading.commits
    assert reading.segments[0].first_seq > 1
