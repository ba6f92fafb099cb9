"""`idle_timeout`: who gave no sign of life for that long is looked at, and then stopped."""

import pytest

from jobd.core.commands import Looked, Progress
from jobd.core.decision import Kill, Look, Stop
from jobd.core.job import Status
from jobd.core.moment import Moment
from jobd.errors import Conflict, NotFound


def looks(decision):
    return [effect for effect in decision.effects if isinstance(effect, Look)]


def looked(desk, job, seen_at):
    """What somebody saw who went and looked; the kinds of what was decided."""
    decision = desk.decide(Looked(job.id, job.attempt, desk.boot, seen_at))
    return [type(effect) for effect in decision.effects]


def due_in(desk):
    at = desk.engine.next_deadline().boot
    return None if at is None else at - desk.boot


def test_who_was_silent_for_that_long_is_looked_at_once_and_stopped_if_nothing_was_written(desk):
    job = desk.started(idle_timeout=10.0, kill_grace=2.0)
    assert due_in(desk) == 10
    assert desk.tick(9.9).effects == []
    [look] = desk.tick(0.1).effects
    assert look == Look(job.id, 1, Moment(job.started_at, desk.boot - 10))
    assert desk.tick(5).effects == [], "it is being looked at"
    assert due_in(desk) is None
    assert looked(desk, job, None) == [Stop]
    assert job.running.stopping == "idle"
    assert due_in(desk) == 2
    [kill] = desk.tick(2).effects
    assert isinstance(kill, Kill)
    desk.end(job, "signal", signal="SIGKILL")
    assert job.history.failure.kind == "timeout"
    assert "idle" in job.history.failure.message


def test_who_wrote_something_has_as_long_again_from_then_on(desk):
    job = desk.started(idle_timeout=10.0)
    desk.tick(10)
    assert looked(desk, job, desk.boot - 4) == []
    assert due_in(desk) == 6
    assert looks(desk.tick(6))
    assert looked(desk, job, desk.boot - 10) == [Stop]


def test_what_was_seen_is_never_in_the_future_nor_older_than_what_was_known(desk):
    job = desk.started(idle_timeout=10.0)
    desk.tick(10)
    looked(desk, job, desk.boot + 3600)
    assert due_in(desk) == 10
    desk.tick(10)
    assert looked(desk, job, -5.0) == [Stop]


def test_an_answer_that_took_long_says_nothing_of_the_time_since(desk):
    job = desk.started(idle_timeout=10.0)
    desk.tick(10)
    at = desk.boot
    desk.wait(60)
    assert desk.decide(Looked(job.id, 1, at, at - 9)).effects == []
    assert looks(desk.tick()), "it is looked at again"
    assert looked(desk, job, desk.boot - 10) == [Stop]


def test_progress_is_a_sign_of_life_and_spares_the_look(desk):
    job = desk.started(idle_timeout=10.0)
    desk.wait(7)
    desk.decide(Progress(job.id, 0.5))
    assert desk.tick(3).effects == []
    assert due_in(desk) == 7
    assert looks(desk.tick(7))
    desk.decide(Progress(job.id, 0.6))
    assert looked(desk, job, None) == [], "it came while somebody looked"
    assert due_in(desk) == 10


def test_progress_is_no_record_and_the_last_one_is_kept_with_the_end(desk):
    job = desk.started(retry_delay=0.0)
    decision = desk.decide(Progress(job.id, 0.25, "quarter"))
    assert (decision.facts, decision.effects) == ([], [])
    desk.decide(Progress(job.id, 1))
    progress = desk.engine.signs.progress
    assert progress(job).fraction == 1.0
    desk.end(job, "exit")
    [ended] = job.history.first
    assert (ended.progress.fraction, ended.progress.message) == (1.0, None)
    assert progress(job) == ended.progress
    twin = desk.twin()
    assert twin.signs.progress(twin.jobs.get(job.id)) == ended.progress
    desk.tick()
    assert progress(job) is None, "the next attempt has told nothing yet"
    desk.end(job)
    assert progress(job) is None


def test_progress_of_a_job_that_does_not_run_is_a_conflict(desk):
    waiting = desk.submit(delay_s=5)
    ended = desk.final(Status.COMPLETED)
    for job in (waiting, ended):
        with pytest.raises(Conflict, match=job.status):
            desk.decide(Progress(job.id, 0.5))
    with pytest.raises(NotFound):
        desk.decide(Progress("0" * 16, 0.5))


def test_a_stop_that_is_under_way_goes_its_way(desk):
    job = desk.started(idle_timeout=10.0, kill_grace=30.0)
    desk.tick(10)
    desk.cancel(job)
    assert looked(desk, job, None) == []
    assert due_in(desk) == 30
    desk.decide(Progress(job.id, 0.5))
    assert due_in(desk) == 30
    assert [type(e) for e in desk.tick(30).effects] == [Kill]
    assert job.running.stopping == "cancelled"


def test_the_timeout_goes_before_a_look(desk):
    job = desk.started(idle_timeout=10.0, timeout=15.0)
    desk.tick(10)
    assert due_in(desk) == 5, "the timeout, while somebody looks"
    looked(desk, job, desk.boot)
    assert due_in(desk) == 5
    assert [type(e) for e in desk.tick(20).effects] == [Stop]
    assert job.running.stopping == "timeout"


def test_an_answer_about_an_attempt_that_has_ended_is_nobodys(desk):
    job = desk.started(idle_timeout=10.0, retry_delay=0.0)
    desk.tick(10)
    desk.end(job, "exit")
    assert looked(desk, job, None) == []
    desk.tick()
    assert job.attempt == 2
    assert desk.decide(Looked(job.id, 1, desk.boot, None)).effects == []
    assert due_in(desk) == 10, "the second attempt has its own time"
    assert looks(desk.tick(10))


def test_a_daemon_that_takes_it_over_counts_its_own_start(desk):
    job = desk.started(idle_timeout=10.0)
    desk.wait(25)
    desk.engine = desk.twin()
    assert desk.engine.adopt(desk.now) == []
    assert desk.tick().effects == []
    assert due_in(desk) == 10
    [look] = desk.tick(10).effects
    assert look == Look(job.id, 1, Moment(desk.wall - 10, desk.boot - 10))
    job = desk.job(job.id)
    assert looked(desk, job, desk.boot - 30) == [Stop]


def test_after_a_restart_a_stop_for_idleness_goes_on_where_it_was(desk):
    job = desk.started(idle_timeout=10.0, kill_grace=6.0)
    desk.tick(10)
    looked(desk, job, None)
    desk.wait(2)
    desk.engine = desk.twin()
    assert [type(e) for e in desk.engine.adopt(desk.now)] == [Stop]
    assert due_in(desk) == 4
    assert [type(e) for e in desk.tick(4).effects] == [Kill]


def test_after_a_reboot_it_means_nothing(desk):
    desk.started(idle_timeout=10.0)
    twin = desk.twin(boot_id="another")
    twin.adopt(Moment(desk.wall, 1.0))
    assert twin.next_deadline().boot is None


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_wall_clock_that_is_set_changes_nothing(desk, step):
    job = desk.started(idle_timeout=10.0)
    desk.wall += step
    assert desk.tick(9.9).effects == []
    assert looks(desk.tick(0.1))
    desk.wall -= step
    assert looked(desk, job, desk.boot - 1) == []
    assert due_in(desk) == 9


def test_a_job_without_it_is_never_looked_at_and_leaves_nothing_behind(desk):
    job = desk.started()
    assert desk.engine.next_deadline() == (None, None)
    assert desk.tick(1e6).effects == []
    desk.decide(Progress(job.id, 0.5))
    desk.end(job)
    assert vars(desk.engine.signs) == {"_watches": {}, "_progress": {}}


def test_nothing_is_left_of_attempts_that_ended_or_never_ran(desk):
    jobs = [desk.started(idle_timeout=10.0) for _ in range(3)]
    desk.tick(10)
    for job in jobs:
        desk.decide(Progress(job.id, 0.1))
    desk.never_ran(jobs[0])
    desk.end(jobs[1])
    looked(desk, jobs[1], desk.boot)
    desk.end(jobs[2], "interrupted")
    assert vars(desk.engine.signs) == {"_watches": {}, "_progress": {}}


def test_a_look_is_no_record(desk):
    desk.started(idle_timeout=1.0)
    assert desk.tick(1).facts == []
