"""What holds all starts back: want of something, want of room, and caution after a reboot."""

from __future__ import annotations

import pytest

from jobd.core.commands import AttemptNeverRan, Drain, Probed
from jobd.core.decision import Launch, Probe
from jobd.core.job import Status
from jobd.core.promises import (
    REMOVAL_BYTES,
    RUNNING_BYTES,
    START_BYTES,
    WAITING_BYTES,
)


def launched(decision):
    return [effect.id for effect in decision.effects if isinstance(effect, Launch)]


def probes(decision):
    return [effect for effect in decision.effects if isinstance(effect, Probe)]


@pytest.fixture
def wanting(desk):
    """An engine that was told that the host lacks memory, and the job that was to start."""
    job = desk.started()
    desk.decide(AttemptNeverRan(job.id, 1, want="Cannot allocate memory"))
    return desk, job


def test_want_of_the_host_is_not_the_jobs_failure(wanting):
    desk, job = wanting
    assert (job.status, job.retries_left, job.interruptions) == (
        Status.PENDING, job.policy.retry_attempts, 0,
    )  # fmt: skip
    assert desk.engine.starts.held == ("Cannot allocate memory", desk.wall)


def test_nothing_is_started_for_a_second_and_then_the_host_is_asked(wanting):
    desk, job = wanting
    other = desk.submit(priority=10)
    assert launched(desk.tick(0.999)) == []
    assert desk.engine.next_deadline().boot == pytest.approx(desk.boot + 0.001)
    assert probes(desk.tick(0.001))
    assert desk.engine.next_deadline().boot is None, "it was asked, and answers"
    assert probes(desk.tick(5)) == []

    desk.decide(Probed("Cannot allocate memory"))
    assert launched(desk.tick(0.5)) == []
    assert probes(desk.tick(0.5))
    desk.decide(Probed(None))

    assert desk.engine.starts.held is None
    assert set(launched(desk.tick())) == {job.id, other.id}


def test_the_reason_is_the_latest_and_its_beginning_the_first(wanting):
    desk, _ = wanting
    began = desk.engine.starts.held.since
    desk.tick(1)
    desk.decide(Probed("Too many open files"))
    assert desk.engine.starts.held == ("Too many open files", began)


def test_an_attempt_that_was_not_tried_holds_nothing(desk):
    job = desk.started()
    desk.decide(AttemptNeverRan(job.id, 1))
    assert desk.engine.starts.held is None
    assert launched(desk.tick()) == [job.id]


def test_the_end_of_a_want_does_not_end_a_drain(wanting):
    desk, _ = wanting
    desk.decide(Drain(on=True))
    desk.tick(1)
    desk.decide(Probed(None))
    assert launched(desk.tick()) == []


# Room in the journal.


def test_an_attempt_without_room_for_its_end_waits_unrecorded(desk):
    desk.room_bytes = START_BYTES + RUNNING_BYTES
    first, second = desk.submit(priority=2), desk.submit()
    assert launched(desk.tick()) == [first.id]
    assert (second.status, second.attempt) == (Status.PENDING, 0)
    assert "no room" in desk.engine.starts.held.why

    desk.room_bytes = START_BYTES + RUNNING_BYTES
    assert probes(desk.tick(1))
    desk.decide(Probed(None))
    assert launched(desk.tick()) == [second.id]


def test_what_is_promised_follows_the_jobs_there_are(desk):
    engine = desk.engine
    assert engine.promised_bytes == 0
    job = desk.submit()
    assert engine.promised_bytes == WAITING_BYTES + REMOVAL_BYTES
    desk.tick()
    assert engine.promised_bytes == RUNNING_BYTES + REMOVAL_BYTES
    desk.end(job)
    assert engine.promised_bytes == REMOVAL_BYTES


# Caution.


def window_sizes(desk, ticks):
    """How many start in each second."""
    return [len(launched(desk.tick(1 if n else 0))) for n in range(ticks)]


@pytest.fixture
def crowd(desk_with):
    """Twelve slots, and twelve jobs whose keeper died."""
    desk = desk_with(max_running=12)
    jobs = [desk.submit(retry_delay=30.0) for _ in range(12)]
    desk.tick()
    for job in jobs:
        desk.end(job, kind="interrupted")
    return desk


def test_after_a_lost_keeper_not_everything_starts_at_once(crowd):
    assert launched(crowd.tick(29)) == []
    crowd.wait(1)
    assert window_sizes(crowd, 5) == [1, 2, 4, 5, 0]
    assert crowd.engine.next_deadline().boot is None


def test_a_new_interruption_begins_anew(crowd):
    crowd.tick(30)
    crowd.tick(1)
    job = next(iter(crowd.engine.running.values()))
    crowd.end(job, kind="interrupted")
    assert window_sizes(crowd, 3) == [1, 2, 4]


def test_after_caution_all_slots_are_used_again(crowd):
    crowd.wait(30)
    assert sum(window_sizes(crowd, 5)) == 12
    for job in list(crowd.engine.running.values()):
        crowd.end(job)
    more = [crowd.submit() for _ in range(12)]
    assert len(launched(crowd.tick())) == len(more)


def test_after_a_reboot_not_everything_starts_at_once_although_nothing_ran(desk_with):
    desk = desk_with(max_running=8)
    desk.end(desk.started())
    for _ in range(8):
        desk.submit(delay_s=60)
    desk.engine = desk.twin("the second boot")
    desk.wait(60)
    assert window_sizes(desk, 4) == [1, 2, 4, 1]


def test_after_a_mere_restart_everything_may_start_at_once(desk_with):
    desk = desk_with(max_running=8)
    desk.end(desk.started())
    for _ in range(8):
        desk.submit(delay_s=60)
    desk.engine = desk.twin()
    desk.wait(60)
    assert window_sizes(desk, 1) == [8]
