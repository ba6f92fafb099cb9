"""Submitting, retrying by hand, removing: one rule per test."""

import pytest

from jobd.core import ids
from jobd.core.commands import Cancel, Follow, Remove, Retry, Submit
from jobd.core.decision import Forget, Submittal
from jobd.core.job import Status
from jobd.core.records import RetryRequested, Submitted
from jobd.core.rules import Rules
from jobd.errors import Conflict, NotFound, QueueFull


def answers(desk, *submissions):
    return desk.decide(Submit(submissions)).answer


def unchanged(desk, command, error):
    """The refusal; and that nothing has changed."""
    before = (
        desk.engine.seq,
        len(desk.engine.jobs),
        dict(desk.engine.counts),
        desk.engine.live_bytes,
    )
    with pytest.raises(error) as refusal:
        desk.decide(command)
    after = (
        desk.engine.seq,
        len(desk.engine.jobs),
        dict(desk.engine.counts),
        desk.engine.live_bytes,
    )
    assert after == before
    return refusal.value


def test_a_submission_is_one_record_and_makes_a_pending_job(desk):
    decision = desk.decide(Submit((desk.submission(call=b'{"command":["ls"]}', delay_s=7.5),)))
    [fact] = decision.facts
    assert isinstance(fact.record, Submitted)
    assert decision.effects == []
    [answer] = decision.answer
    assert answer == Submittal(fact.job.id, Status.PENDING, duplicate=False)
    job = desk.job(answer.id)
    assert (job.call, job.by) == (b'{"command":["ls"]}', "uid:1000")
    assert (job.submitted_at, job.run_at) == (desk.wall, desk.wall + 7.5)
    assert fact.status is Status.PENDING


def test_run_at_is_taken_as_given(desk):
    assert desk.submit(run_at=desk.wall - 5).run_at == desk.wall - 5


def test_asking_again_with_the_same_request_id_finds_the_same_job(desk):
    job = desk.submit(request_id="r")
    desk.tick()
    desk.end(job)
    decision = desk.decide(Submit((desk.submission(request_id="r"),)))
    assert decision.answer == (Submittal(job.id, Status.COMPLETED, duplicate=True),)
    assert decision.facts == []


def test_content_is_compared_as_json_and_not_as_bytes(desk):
    job = desk.submit(request_id="r", call=b'{"command":["a"],"priority":2}')
    again = desk.submission(request_id="r", call=b'{ "priority": 2, "command": ["a"] }')
    assert answers(desk, again) == (Submittal(job.id, Status.PENDING, duplicate=True),)


@pytest.mark.parametrize(
    "other", [b'{"args":[2]}', b'{"args":["1"]}', b'{"args":[1],"delay":0}', b'{"args":[true]}']
)
def test_other_content_under_the_same_request_id_is_a_conflict(desk, other):
    desk.submit(request_id="r", call=b'{"args":[1]}')
    unchanged(desk, Submit((desk.submission(request_id="r", call=other),)), Conflict)


def test_a_request_id_is_the_submitters_own(desk):
    mine = desk.submit(request_id="r", by="uid:1")
    theirs = desk.submit(request_id="r", by="uid:2", call=b"[]")
    assert mine.id != theirs.id


def test_a_request_id_of_a_forgotten_job_makes_a_new_job_with_another_id(desk):
    first = desk.final(Status.COMPLETED, request_id="r")
    desk.decide(Remove(first.id))
    second = desk.submit(request_id="r", call=b"[1]")
    assert second.id != first.id
    assert ids.stem("uid:1000", "r") == first.id[:12] == second.id[:12]
    assert desk.engine.jobs.get(first.id) is None


def test_a_batch_is_one_decision_in_order(desk):
    batch = tuple(desk.submission(request_id=name) for name in "abc")
    decision = desk.decide(Submit(batch))
    assert [answer.id[:12] for answer in decision.answer] == [one.stem for one in batch]
    assert len(decision.facts) == 3


def test_within_a_batch_the_second_of_a_request_id_is_the_firsts_duplicate(desk):
    first, second = answers(desk, desk.submission(request_id="r"), desk.submission(request_id="r"))
    assert (first.id, first.duplicate, second.duplicate) == (second.id, False, True)


def test_a_batch_with_one_conflict_stores_nothing_at_all(desk):
    desk.submit(request_id="taken")
    batch = (desk.submission(), desk.submission(request_id="taken", call=b"[]"), desk.submission())
    unchanged(desk, Submit(batch), Conflict)


def test_a_batch_that_contradicts_itself_stores_nothing_at_all(desk):
    batch = (desk.submission(request_id="r"), desk.submission(request_id="r", call=b"[]"))
    unchanged(desk, Submit(batch), Conflict)


def test_what_is_beyond_max_pending_is_refused_as_a_whole(desk_with):
    desk = desk_with(max_pending=3, max_running=0)
    desk.submit()
    unchanged(desk, Submit(tuple(desk.submission() for _ in range(3))), QueueFull)
    assert len(answers(desk, desk.submission(), desk.submission())) == 2
    unchanged(desk, Submit((desk.submission(),)), QueueFull)


def test_running_and_final_jobs_are_not_pending(desk_with):
    desk = desk_with(max_pending=1, max_running=1)
    desk.final(Status.COMPLETED)
    desk.started()
    desk.submit(delay_s=99)
    unchanged(desk, Submit((desk.submission(),)), QueueFull)


def test_a_repeated_request_is_answered_even_when_nothing_more_fits(desk_with):
    desk = desk_with(max_pending=2, max_running=0)
    job = desk.submit(request_id="r")
    desk.submit()
    desk.decide(Follow(Rules(max_running=0, max_pending=1)))
    assert answers(desk, desk.submission(request_id="r")) == (
        Submittal(job.id, Status.PENDING, duplicate=True),
    )


@pytest.mark.parametrize("command", [Cancel, Remove, Retry])
def test_an_unknown_id_is_not_found(desk, command):
    desk.submit()
    unchanged(desk, command("0" * 16), NotFound)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_a_final_job_can_be_run_again_and_begins_anew(desk, status):
    job = desk.final(status)
    decision = desk.decide(Retry(job.id, delay_s=60))
    assert decision.answer is Status.PENDING
    [fact] = decision.facts
    assert isinstance(fact.record, RetryRequested)
    assert (job.status, job.run_at, job.retries_left) == (Status.PENDING, desk.wall + 60, 0)
    assert (job.history.finished_at, job.history.failure, job.history.result) == (
        None,
        None,
        b"null",
    )
    desk.tick(60)
    assert job.attempt == 2
    assert len(job.history.first) == 1


def test_retries_and_interruptions_begin_anew_and_attempt_numbers_go_on(desk):
    job = desk.started(retry_attempts=1, retry_delay=0.0)
    desk.end(job, "interrupted")
    desk.tick(1)
    desk.end(job, "exit")
    desk.tick(1)
    desk.end(job, "exit")
    assert (job.status, job.attempt, job.interruptions) == (Status.FAILED, 3, 1)
    desk.decide(Retry(job.id))
    assert (job.retries_left, job.interruptions) == (1, 0)
    desk.tick(1)
    desk.end(job, "exit")
    desk.tick(1)
    assert (job.status, job.attempt, job.retries_left) == (Status.RUNNING, 5, 0)
    assert [ended.attempt for ended in job.history.first] == [1, 2, 3, 4]


def test_what_has_not_ended_can_be_neither_retried_nor_removed(desk_with):
    desk = desk_with(max_running=1)
    running, pending = desk.started(priority=9, retry_attempts=1, retry_delay=5.0), desk.submit()
    for job in (running, pending):
        assert unchanged(desk, Retry(job.id), Conflict).data == {"status": job.status}
        assert unchanged(desk, Remove(job.id), Conflict).data == {"status": job.status}
    desk.end(running, "exit")
    unchanged(desk, Retry(running.id), Conflict)
    unchanged(desk, Remove(running.id), Conflict)


def test_a_retry_by_hand_keeps_within_max_pending(desk_with):
    desk = desk_with(max_pending=1, max_running=1)
    job = desk.final(Status.FAILED)
    desk.submit(delay_s=99)
    unchanged(desk, Retry(job.id), QueueFull)


def test_a_removed_job_is_gone_with_its_output(desk):
    job = desk.final(Status.COMPLETED)
    decision = desk.decide(Remove(job.id))
    assert decision.effects == [Forget(job.id)]
    [fact] = decision.facts
    assert (fact.job, fact.status) == (job, None)
    unchanged(desk, Remove(job.id), NotFound)
    assert desk.engine.live_bytes == 0
