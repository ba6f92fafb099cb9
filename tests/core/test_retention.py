"""How long jobs that have ended are kept."""

import pytest

from jobd.core.commands import Remove, Retry
from jobd.core.decision import Forget
from jobd.core.engine import TICK_MAX
from jobd.core.job import Status
from jobd.core.records import Removed

FINALS = [Status.COMPLETED, Status.FAILED, Status.CANCELLED]
KEEP_S = {"completed_s": 1000.0, "failed_s": 2000.0, "cancelled_s": 3000.0}


def removed(decision):
    return [fact.record.id for fact in decision.facts if isinstance(fact.record, Removed)]


@pytest.mark.parametrize(("status", "keep_s"), list(zip(FINALS, (1000, 2000, 3000), strict=True)))
def test_each_final_status_has_its_own_retention(desk_with, status, keep_s):
    desk = desk_with(**KEEP_S)
    job = desk.final(status)
    assert desk.engine.next_deadline().wall == desk.wall + keep_s
    assert removed(desk.tick(keep_s - 1)) == []
    decision = desk.tick(1)
    assert removed(decision) == [job.id]
    assert decision.effects == [Forget(job.id)]
    assert desk.engine.jobs.get(job.id) is None
    assert sum(desk.engine.counts.values()) == 0
    assert desk.engine.live_bytes == 0


@pytest.mark.parametrize("status", FINALS)
def test_nothing_is_removed_within_ten_minutes_of_its_end_whatever_the_config_says(
    desk_with, status
):
    desk = desk_with(completed_s=0.0, failed_s=0.0, cancelled_s=0.0, max_jobs=1)
    jobs = [desk.final(status) for _ in range(3)]
    assert removed(desk.tick(599)) == []
    assert sorted(removed(desk.tick(1))) == sorted(job.id for job in jobs)


def test_above_max_jobs_the_one_that_ended_first_goes_first_whatever_its_status(desk_with):
    desk = desk_with(max_jobs=2)
    jobs = []
    for status in (Status.CANCELLED, Status.COMPLETED, Status.FAILED, Status.COMPLETED):
        jobs.append(desk.final(status))
        desk.wait(1)
    assert removed(desk.tick(600)) == [jobs[0].id, jobs[1].id]
    assert desk.engine.next_deadline().wall > desk.wall + 86400


def test_max_jobs_never_removes_a_job_that_has_not_ended(desk_with):
    desk = desk_with(max_jobs=1, max_running=1)
    desk.started()
    desk.submit()
    desk.submit(delay_s=10_000)
    assert removed(desk.tick(700)) == []
    assert len(desk.engine.jobs) == 3
    assert desk.engine.next_deadline().wall > desk.wall


def test_a_job_that_was_retried_is_no_longer_about_to_be_forgotten(desk_with):
    desk = desk_with(**KEEP_S)
    job = desk.final(Status.COMPLETED)
    desk.decide(Retry(job.id, delay_s=5000))
    assert removed(desk.tick(4000)) == []


def test_a_job_that_was_removed_is_not_removed_again(desk_with):
    desk = desk_with(**KEEP_S)
    desk.decide(Remove(desk.final(Status.FAILED).id))
    assert desk.engine.next_deadline() == (None, None)
    assert removed(desk.tick(9999)) == []


def test_one_tick_forgets_a_bounded_number_and_says_that_more_is_left(desk_with):
    desk = desk_with(**KEEP_S)
    jobs = []
    for _ in range(TICK_MAX + 10):
        job = desk.submit()
        desk.cancel(job)
        jobs.append(job.id)
    assert removed(desk.tick(3000)) == jobs[:TICK_MAX]
    assert desk.engine.next_deadline().wall <= desk.wall
    assert removed(desk.tick()) == jobs[TICK_MAX:]
    assert desk.engine.next_deadline() == (None, None)


def test_after_the_clock_was_set_back_jobs_are_kept_until_their_instant(desk_with):
    desk = desk_with(**KEEP_S)
    job = desk.final(Status.COMPLETED)
    desk.wall -= 5000
    assert removed(desk.tick(1000)) == []
    assert removed(desk.tick(5000)) == [job.id]
