"""What is remembered is what was done: replay, snapshots, reminders."""

import pytest

from jobd.core.commands import Keep, Remove, Retry, StopAll
from jobd.core.decision import Kill, Stop
from jobd.core.engine import Engine
from jobd.core.job import Job, Status
from jobd.core.records import Kept, Started, Submitted
from jobd.core.starts import Starts


def account(engine):
    """All that an engine knows, as values that can be compared."""
    return {
        "jobs": {
            job.id: {name: getattr(job, name) for name in Job.__slots__ if name != "place"}
            for job in engine.jobs
        },
        "order": [job.id for job in engine.jobs.newest()],
        "seq": engine.seq,
        "counts": engine.counts,
        "live_bytes": engine.live_bytes,
        "running": set(engine.running),
        "queues": dict(engine.schedule.counts()),
        "boot": engine.next_deadline().boot,
        "waiting": engine.waiting,
    }


def eventful(desk):
    """A desk at which a bit of everything has happened."""
    desk.final(Status.COMPLETED)
    desk.decide(Retry(desk.final(Status.FAILED).id, delay_s=500))
    desk.decide(Remove(desk.final(Status.CANCELLED).id))
    retried = desk.started(retry_delay=60.0, queue="a", timeout=100.0)
    desk.end(retried, "exit")
    interrupted = desk.started(queue="b")
    desk.end(interrupted, "interrupted")
    desk.engine.starts = Starts()  # no record tells of the caution that follows
    desk.never_ran(desk.started(priority=3))
    desk.tick()
    desk.submit(delay_s=1000, queue="c")
    desk.cancel(desk.submit(delay_s=2000))
    stopped = desk.started(timeout=50.0, kill_grace=20.0)
    desk.cancel(stopped)
    desk.submit(run_at=desk.wall - 9)
    desk.wait(1)
    return desk


def test_a_twin_that_was_told_the_records_knows_the_same(desk):
    assert account(eventful(desk).twin()) == account(desk.engine)


def test_a_twin_starts_the_same_jobs_in_the_same_order(desk_with):
    desk = eventful(desk_with(max_running=3))
    twin = desk.twin()
    for _ in range(3):
        desk.wait(400)
        mine = desk.engine.tick(desk.now, desk._admit, desk._has_room)
        theirs = twin.tick(desk.now, desk._admit, desk._has_room)
        assert mine.effects == theirs.effects
        assert [fact.record for fact in mine.facts] == [fact.record for fact in theirs.facts]


def test_a_snapshot_of_every_job_changes_nothing(desk):
    before = account(eventful(desk).engine)
    decision = desk.decide(Keep(tuple(job.id for job in desk.engine.jobs)))
    assert all(isinstance(fact.record, Kept) for fact in decision.facts)
    after = account(desk.engine)
    assert after.pop("seq") == before.pop("seq") + len(before["jobs"])
    assert after == before
    assert account(desk.twin()) == account(desk.engine)


def test_snapshots_alone_tell_all_there_is(desk):
    eventful(desk)
    decision = desk.decide(Keep(tuple(job.id for job in desk.engine.jobs)))
    twin = Engine(desk.rules, boot_id=desk.boot_id)
    twin.replay(decision.facts[0].seq, [fact.record for fact in decision.facts])
    assert account(twin) == account(desk.engine)


def test_what_lies_between_a_lost_beginning_and_a_snapshot_does_no_harm(desk):
    eventful(desk)
    desk.decide(Keep(tuple(job.id for job in desk.engine.jobs)))
    desk.tick(5)
    for cut in range(len(desk.records)):
        if isinstance(desk.records[cut], Submitted):
            continue  # else an ordinary replay of all that came later
        twin = Engine(desk.rules, boot_id=desk.boot_id)
        kept = next(n for n, record in enumerate(desk.records) if isinstance(record, Kept))
        if cut > kept:
            break
        twin.replay(cut + 1, desk.records[cut:])
        assert account(twin) == account(desk.engine)


def test_a_snapshot_of_a_forgotten_job_is_not_made(desk):
    job = desk.final(Status.COMPLETED)
    desk.decide(Remove(job.id))
    assert desk.decide(Keep((job.id, "0" * 16))).facts == []


def test_the_ordinals_go_on_after_a_replay(desk):
    eventful(desk)
    twin = desk.twin()
    [fact] = twin.decide(Keep((next(iter(twin.jobs)).id,)), desk.now).facts
    assert fact.seq == len(desk.records) + 1


def test_replay_reads_no_clock_so_a_job_stays_as_it_was(desk):
    job = desk.submit(delay_s=5)
    desk.wait(99)
    assert desk.twin().jobs.get(job.id).status is Status.PENDING


def test_a_timeout_goes_on_over_a_restart_in_the_same_boot(desk):
    desk.started(timeout=60.0)
    desk.wait(45)
    assert desk.twin().next_deadline().boot == desk.boot + 15


def test_a_timeout_of_another_boot_means_nothing(desk):
    desk.started(timeout=60.0)
    stopped = desk.started(timeout=60.0)
    desk.cancel(stopped)
    assert desk.twin(boot_id="another").next_deadline().boot is None


def test_a_start_bears_the_boot_that_it_happened_in(desk):
    desk.started()
    twin = desk.twin(boot_id="another")
    twin.jobs.of_stem(desk.submission(request_id="new").stem)
    desk.boot_id = "another"
    desk.engine = twin
    desk.started()
    assert [r.boot_id for r in desk.records if isinstance(r, Started)] == [
        "the-first-boot",
        "another",
    ]


@pytest.mark.parametrize("force", [False, True])
def test_a_stop_on_record_is_said_again_after_a_restart(desk, force):
    desk.started()
    job = desk.started(stop_signal="SIGUSR1")
    desk.cancel(job, force=force)
    expected = Kill(job.id, 1) if force else Stop(job.id, 1, "SIGUSR1")
    assert desk.twin().adopt(desk.now) == [expected]


def test_a_service_stop_on_record_is_said_again_after_a_restart(desk):
    job = desk.started()
    desk.decide(StopAll())
    assert desk.twin().adopt(desk.now) == [Stop(job.id, 1, "SIGTERM")]


def test_what_has_ended_is_not_reminded_of(desk):
    job = desk.started()
    desk.cancel(job)
    desk.end(job, "signal", signal="SIGTERM")
    assert desk.twin().adopt(desk.now) == []
