"""What comes due by itself: order of starts, bounded ticks, deadlines, clocks that are set."""

import pytest

from jobd.core.commands import Cancel, Drain, Follow
from jobd.core.engine import ADVANCE_MAX, TICK_MAX
from jobd.core.job import Status
from jobd.core.rules import Rules


def nothing_is_due(desk):
    deadlines = desk.engine.next_deadline()
    return (deadlines.wall is None or deadlines.wall > desk.wall) and (
        deadlines.boot is None or deadlines.boot > desk.boot
    )


def test_jobs_start_by_priority_then_run_at_then_order_of_submission(desk_with):
    desk = desk_with(max_running=0)
    now = desk.wall
    wanted = [(1, 0), (5, 0), (5, -10), (10, 0), (5, 0), (1, -20)]
    jobs = [desk.submit(priority=p, run_at=now + at) for p, at in wanted]
    desk.decide(Follow(Rules(max_running=100)))
    order = [effect.id for effect in desk.tick().effects]
    assert order == [jobs[n].id for n in (3, 2, 1, 4, 5, 0)]


def test_a_delayed_job_starts_at_its_instant_and_not_before(desk):
    job = desk.submit(delay_s=30)
    assert desk.engine.next_deadline() == (desk.wall + 30, None)
    assert desk.tick(29.999).effects == []
    desk.tick(0.001)
    assert job.status is Status.RUNNING


def test_a_delayed_job_of_high_priority_goes_before_what_was_ready_long_ago(desk_with):
    desk = desk_with(max_running=1)
    running, low = desk.started(), desk.submit()
    high = desk.submit(priority=2, delay_s=10)
    desk.tick(10)
    desk.end(running)
    desk.tick()
    assert (high.status, low.status) == (Status.RUNNING, Status.PENDING)


def test_an_engine_with_nothing_to_do_sleeps_for_ever(desk):
    assert desk.engine.next_deadline() == (None, None)
    desk.started()
    desk.tick()
    assert desk.engine.next_deadline() == (None, None)


def test_jobs_that_wait_for_slots_only_wake_nobody(desk_with):
    desk = desk_with(max_running=1, queue_max={"narrow": 0})
    desk.started()
    desk.submit()
    desk.submit(queue="narrow")
    desk.tick()
    assert desk.engine.next_deadline() == (None, None)


def test_one_tick_starts_a_bounded_number_and_says_that_more_is_left(desk_with):
    desk = desk_with(max_running=10_000)
    for _ in range(TICK_MAX + 5):
        desk.submit()
    assert len(desk.tick().effects) == TICK_MAX
    assert not nothing_is_due(desk)
    assert len(desk.tick().effects) == 5
    assert nothing_is_due(desk)


def test_refusals_are_part_of_the_bound(desk_with):
    desk = desk_with(max_running=1)
    for _ in range(TICK_MAX + 5):
        desk.refuse(desk.submit())
    assert len(desk.tick().facts) == TICK_MAX
    assert not nothing_is_due(desk)
    assert len(desk.tick().facts) == 5
    assert nothing_is_due(desk)


def test_however_many_come_due_at_once_a_tick_is_bounded_and_the_order_holds(desk_with):
    desk = desk_with(max_running=1)
    low = [desk.submit(delay_s=10 + number / 10_000) for number in range(ADVANCE_MAX + 5)]
    high = desk.submit(delay_s=20, priority=10)
    assert desk.tick(100).effects == [], "it is not known yet which is next"
    assert not nothing_is_due(desk)
    [launch] = desk.tick().effects
    assert launch.id == high.id
    assert all(job.status is Status.PENDING for job in low)
    assert nothing_is_due(desk)


def test_after_the_clock_was_set_back_nothing_starts_before_its_run_at(desk_with):
    desk = desk_with(max_running=1)
    running = desk.started()
    job, early = desk.submit(priority=9), desk.submit(run_at=desk.wall - 5000)
    desk.wall -= 3600
    desk.end(running)
    assert [effect.id for effect in desk.tick().effects] == [early.id]
    desk.end(early)
    assert desk.tick().effects == []
    assert desk.engine.next_deadline().wall == job.run_at
    assert nothing_is_due(desk)
    assert [effect.id for effect in desk.tick(3600).effects] == [job.id]


def test_after_the_clock_was_set_forward_what_has_come_due_starts(desk):
    job = desk.submit(delay_s=3600)
    desk.wall += 3600
    desk.tick()
    assert job.status is Status.RUNNING


def test_new_rules_hold_from_the_next_tick_on(desk_with):
    desk = desk_with(max_running=1, queue_max={"q": 1})
    jobs = [desk.submit(queue="q") for _ in range(4)]
    desk.tick()
    desk.decide(Follow(Rules(max_running=3, queue_max={"q": 2})))
    desk.tick()
    assert [job.status for job in jobs].count(Status.RUNNING) == 2
    desk.decide(Follow(Rules(max_running=3)))
    desk.tick()
    assert [job.status for job in jobs].count(Status.RUNNING) == 3
    desk.decide(Follow(Rules(max_running=1)))
    desk.end(jobs[0])
    assert desk.tick().effects == []
    assert [job.status for job in jobs].count(Status.RUNNING) == 2


def test_new_retention_is_in_the_next_deadline(desk):
    desk.final(Status.COMPLETED)
    desk.decide(Follow(Rules(max_running=1, completed_s=700.0)))
    assert desk.engine.next_deadline().wall == desk.wall + 700


def test_a_cancelled_job_wakes_nobody_at_what_was_its_time(desk_with):
    desk = desk_with(cancelled_s=9e6)
    job = desk.submit(delay_s=10)
    desk.decide(Cancel(job.id))
    assert desk.engine.next_deadline().wall == desk.wall + 9e6


def test_the_end_of_a_drain_is_a_reason_to_look_again(desk):
    desk.decide(Drain(on=True))
    desk.submit()
    desk.tick()
    desk.decide(Drain(on=False))
    assert not nothing_is_due(desk)


@pytest.mark.parametrize("delay_s", [0.0, 1e-6, 1.0])
def test_the_deadline_is_met_exactly(desk, delay_s):
    job = desk.submit(delay_s=delay_s)
    desk.wall = desk.engine.next_deadline().wall
    desk.tick()
    assert job.status is Status.RUNNING
