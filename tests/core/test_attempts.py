"""Attempts begin, are stopped and end: one rule per test."""

import pytest

from jobd.core import records
from jobd.core.commands import AttemptEnded, Drain, StopAll
from jobd.core.decision import Kill, Launch, Settle, Stop
from jobd.core.job import Ending, Status
from jobd.errors import Conflict


def kinds(decision):
    return [type(fact.record).__name__ for fact in decision.facts]


# Starting.


def test_a_start_is_on_record_with_both_watches_before_its_launch(desk):
    job = desk.submit()
    decision = desk.tick()
    [fact] = decision.facts
    assert fact.record == records.Started(
        id=job.id, at=desk.wall, attempt=1, boot_id=desk.boot_id, boot_at=desk.boot
    )
    [launch] = decision.effects
    assert isinstance(launch, Launch)
    assert (launch.id, launch.attempt, launch.call, launch.by) == (job.id, 1, job.call, job.by)
    assert launch.admitted.program == "/bin/true"
    assert job.started_at == desk.wall


def test_no_more_run_at_once_than_max_running(desk_with, started):
    desk = desk_with(max_running=2)
    jobs = [desk.submit() for _ in range(5)]
    desk.tick()
    assert list(desk.engine.running) == [jobs[0].id, jobs[1].id]
    assert desk.tick().facts == []
    desk.end(jobs[1])
    desk.tick()
    assert list(desk.engine.running) == [jobs[0].id, jobs[2].id]


def test_a_job_that_the_list_no_longer_admits_fails_at_its_start_and_is_not_retried(desk):
    job = desk.submit()
    desk.refuse(job)
    decision = desk.tick()
    assert kinds(decision) == ["Failed"]
    assert decision.effects == []
    assert (job.status, job.attempt, job.history.first) == (Status.FAILED, 0, [])
    assert job.history.failure.kind == "unauthorized"


def test_a_refused_job_holds_nobody_back(desk_with):
    desk = desk_with(max_running=1)
    first, second = desk.submit(priority=9), desk.submit()
    desk.refuse(first)
    desk.tick()
    assert (first.status, second.status) == (Status.FAILED, Status.RUNNING)


def test_a_draining_engine_starts_nothing_and_stores_submissions(desk):
    desk.decide(Drain(on=True))
    job = desk.submit()
    assert desk.tick().facts == []
    assert desk.engine.next_deadline().wall is None
    desk.decide(Drain(on=False))
    desk.tick()
    assert job.status is Status.RUNNING


def test_a_draining_engine_sleeps_although_a_delayed_job_has_come_due(desk):
    desk.decide(Drain(on=True))
    desk.submit(delay_s=5)
    desk.tick(10)
    assert desk.engine.next_deadline() == (None, None)


# Ending.


def test_an_end_is_on_record_before_what_the_keeper_wrote_may_go(desk):
    job = desk.started()
    decision = desk.end(job, result=b"[1,2]", cpu_time=0.25, max_rss=4096)
    assert kinds(decision) == ["Completed"]
    assert decision.effects == [Settle(job.id, 1)]
    assert (job.status, job.history.result) == (Status.COMPLETED, b"[1,2]")
    [ended] = job.history.first
    assert (ended.attempt, ended.cpu_time, ended.max_rss) == (1, 0.25, 4096)


def test_a_failed_attempt_is_retried_after_its_delay_and_then_the_job_fails(desk):
    job = desk.started(retry_attempts=1, retry_delay=10.0)
    desk.end(job, "exit")
    assert (job.status, job.run_at, job.retries_left) == (Status.PENDING_RETRY, desk.wall + 10, 0)
    assert desk.engine.next_deadline().wall == desk.wall + 10
    assert desk.tick(9.9).effects == []
    [launch] = desk.tick(0.2).effects
    assert launch.attempt == 2
    desk.end(job, "exit")
    assert job.status is Status.FAILED
    assert job.history.failure.message == "exited with code 1"


def test_retry_attempts_is_how_often_a_job_is_run_again(desk):
    job = desk.started(retry_attempts=3, retry_delay=0.0)
    while job.status is Status.RUNNING:
        desk.end(job, "exit")
        desk.tick()
    assert (job.status, job.attempt) == (Status.FAILED, 4)


def test_an_attempt_ends_once(desk):
    job = desk.started()
    desk.end(job)
    with pytest.raises(KeyError):
        desk.end(job)


def test_an_end_of_an_earlier_attempt_is_a_bug_and_not_an_end(desk):
    job = desk.started(retry_delay=0.0)
    desk.end(job, "exit")
    desk.tick()
    with pytest.raises(AssertionError):
        desk.decide(AttemptEnded(job.id, 1, Ending(kind="completed"), jitter=0.0))
    assert job.status is Status.RUNNING


def test_an_attempt_that_never_ran_is_neither_failure_nor_interruption(desk):
    job = desk.started(retry_attempts=2)
    decision = desk.never_ran(job)
    assert kinds(decision) == ["NeverRan"]
    assert decision.effects == [Settle(job.id, 1)]
    assert (job.status, job.retries_left, job.interruptions) == (Status.PENDING, 2, 0)
    [launch] = desk.tick().effects
    assert launch.attempt == 2, "a number is never used twice, or a late launch could revive it"


def test_a_cancelled_attempt_that_never_ran_ends_its_job(desk):
    job = desk.started()
    desk.cancel(job)
    assert kinds(desk.never_ran(job)) == ["Cancelled"]
    assert job.status is Status.CANCELLED


def test_interruptions_are_counted_and_spend_no_retry(desk_with):
    desk = desk_with(max_interruptions=2)
    job = desk.started(retry_attempts=1, retry_delay=3.0)
    for count in (1, 2):
        desk.end(job, "interrupted")
        assert (job.status, job.interruptions) == (Status.PENDING_RETRY, count)
        assert (job.retries_left, job.run_at) == (1, desk.wall + 3)
        desk.tick(3)
    desk.end(job, "interrupted")
    assert (job.status, job.history.failure.kind) == (Status.FAILED, "interrupted")


def test_at_most_once_fails_at_its_first_interruption(desk):
    job = desk.started(on_interrupt="fail")
    desk.end(job, "interrupted")
    assert (job.status, job.attempt) == (Status.FAILED, 1)


# Stopping.


def test_a_waiting_job_is_cancelled_at_once(desk):
    job = desk.submit(delay_s=99)
    decision = desk.cancel(job)
    assert decision.answer is Status.CANCELLED
    assert decision.effects == []
    assert job.history.failure.kind == "cancelled"
    assert desk.tick(100).facts == []


def test_a_running_job_is_asked_to_stop_and_killed_when_its_grace_is_over(desk):
    job = desk.started(stop_signal="SIGINT", kill_grace=4.0)
    decision = desk.cancel(job)
    assert kinds(decision) == ["StopRequested"]
    assert decision.effects == [Stop(job.id, 1, "SIGINT")]
    assert decision.answer is Status.RUNNING
    assert desk.tick(3.9).effects == []
    assert desk.tick(0.1).effects == [Kill(job.id, 1)]
    assert desk.engine.next_deadline().boot is None
    desk.end(job, "signal", signal="SIGKILL")
    assert job.status is Status.CANCELLED
    assert job.history.first[0].signal == "SIGKILL"


def test_a_second_cancel_joins_the_first(desk):
    job = desk.started()
    desk.cancel(job)
    again = desk.cancel(job)
    assert (again.facts, again.effects, again.answer) == ([], [], Status.RUNNING)


def test_force_kills_without_asking_first(desk):
    job = desk.started()
    decision = desk.cancel(job, force=True)
    assert kinds(decision) == ["StopRequested", "KillRequested"]
    assert decision.effects == [Kill(job.id, 1)]


def test_force_after_a_cancel_kills_what_was_asked_to_stop(desk):
    job = desk.started()
    desk.cancel(job)
    decision = desk.cancel(job, force=True)
    assert kinds(decision) == ["KillRequested"]
    assert decision.effects == [Kill(job.id, 1)]
    assert desk.tick(99).effects == []


def test_a_cancel_after_the_end_is_a_conflict(desk):
    for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
        with pytest.raises(Conflict) as refusal:
            desk.cancel(desk.final(status))
        assert refusal.value.data == {"status": status}


def test_a_late_attempt_is_asked_to_stop_and_killed_when_its_grace_is_over(desk):
    job = desk.started(timeout=60.0, kill_grace=10.0)
    assert desk.engine.next_deadline().boot == desk.boot + 60
    assert desk.tick(59.9).facts == []
    decision = desk.tick(0.1)
    assert decision.effects == [Stop(job.id, 1, "SIGTERM")]
    assert job.running.stopping == "timeout"
    assert desk.tick(9.9).effects == []
    assert desk.tick(0.2).effects == [Kill(job.id, 1)]
    assert desk.tick(999).effects == []


def test_no_grace_at_all_kills_in_the_same_tick(desk):
    job = desk.started(timeout=60.0, kill_grace=0.0)
    decision = desk.tick(60)
    assert kinds(decision) == ["StopRequested", "KillRequested"]
    assert decision.effects == [Stop(job.id, 1, "SIGTERM"), Kill(job.id, 1)]


def test_a_timed_out_attempt_is_a_failure_that_is_retried(desk):
    job = desk.started(timeout=1.0, retry_attempts=1)
    desk.tick(1)
    desk.end(job, "completed", exit_code=0)
    assert job.status is Status.PENDING_RETRY
    assert (job.history.failure.kind, job.history.failure.exit_code) == ("timeout", 0)


def test_a_timeout_counts_elapsed_time_whatever_happens_to_the_wall_clock(desk):
    desk.started(timeout=60.0)
    desk.wall += 100_000
    assert desk.tick(59).effects == []
    desk.wall -= 200_000
    assert len(desk.tick(1).effects) == 1


def test_each_attempt_has_the_whole_timeout(desk):
    job = desk.started(timeout=60.0, retry_delay=0.0)
    desk.wait(59)
    desk.end(job, "exit")
    desk.tick()
    assert desk.engine.next_deadline().boot == desk.boot + 60


def test_a_cancel_during_a_timeout_is_only_noted_and_the_job_is_not_run_again(desk):
    job = desk.started(timeout=5.0, kill_grace=10.0)
    desk.tick(5)
    desk.wait(3)
    decision = desk.cancel(job)
    assert kinds(decision) == ["StopRequested"]
    assert decision.effects == [], "it was asked already"
    assert job.running.stopping == "timeout"
    assert desk.tick(7).effects == [Kill(job.id, 1)], "the grace is not begun again"
    desk.end(job, "signal", signal="SIGKILL")
    assert job.status is Status.CANCELLED
    assert job.history.first[0].outcome == "timeout"


def test_a_timeout_during_a_cancel_changes_nothing(desk):
    job = desk.started(timeout=5.0, kill_grace=100.0)
    desk.cancel(job)
    assert desk.tick(50).facts == []
    desk.end(job, "signal", signal="SIGTERM")
    assert job.history.first[0].outcome == "cancelled"


def test_the_deadlines_of_a_job_that_has_ended_are_forgotten(desk):
    job = desk.started(timeout=5.0, kill_grace=5.0)
    desk.end(job)
    assert desk.engine.next_deadline().boot is None
    other = desk.started(timeout=5.0, kill_grace=5.0)
    desk.cancel(other)
    desk.end(other, "signal", signal="SIGTERM")
    assert desk.engine.next_deadline().boot is None
    assert desk.tick(100).facts == []


# Stopping with the service.


def test_a_service_stop_asks_each_running_attempt_and_counts_no_interruption(desk):
    jobs = [desk.started(retry_attempts=0) for _ in range(2)]
    waiting = desk.submit(delay_s=99)
    decision = desk.decide(StopAll())
    assert decision.effects == [Stop(job.id, 1, "SIGTERM") for job in jobs]
    desk.end(jobs[0], "signal", signal="SIGTERM")
    assert (jobs[0].status, jobs[0].interruptions) == (Status.PENDING_RETRY, 0)
    assert jobs[0].history.first[0].outcome == "interrupted"
    assert waiting.status is Status.PENDING


def test_a_service_stop_leaves_alone_what_is_being_stopped_already(desk):
    job = desk.started()
    desk.cancel(job)
    assert desk.decide(StopAll()).facts == []
    assert desk.decide(StopAll()).effects == []
