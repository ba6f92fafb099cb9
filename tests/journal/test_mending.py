"""What an account with holes says of a job: what must have been, and never more than that."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.core import records
from jobd.core.engine import Engine
from jobd.core.job import Ended, Failure
from jobd.core.lifecycle import snapshot
from jobd.core.rules import Rules
from jobd.journal.format import decode, encode
from jobd.journal.mending import LOST_END, Mending

RULES = Rules(max_running=4, max_interruptions=1)
AT = 1763764800.25
NOW = 1763769000.0
HOLE = object()


@pytest.fixture
def said(make):
    """Records of the job whose submission is the first."""

    class Said:
        id = make.id(1)
        submitted = make.submitted(1, retry_attempts=1)
        removed = make.removed(1)

        def ended(self, attempt, outcome="completed"):
            failure = None if outcome == "completed" else Failure(kind=outcome, message="said")
            return Ended(
                attempt=attempt, pid=7, started_at=AT, finished_at=AT + 1, outcome=outcome,
                failure=failure,
            )  # fmt: skip

        def started(self, attempt):
            return make.started(1, attempt)

        def completed(self, attempt):
            return records.Completed(id=self.id, at=AT, ended=self.ended(attempt), result=b"1")

        def failed(self, attempt):
            ended = self.ended(attempt, "exit")
            return records.Failed(id=self.id, at=AT, ended=ended, failure=ended.failure)

        def retried(self, attempt):
            return records.Retried(
                id=self.id, at=AT, ended=self.ended(attempt, "exit"), run_at=AT + 5
            )

        def interrupted(self, attempt):
            ended = self.ended(attempt, "interrupted")
            return records.Interrupted(id=self.id, at=AT, ended=ended, run_at=AT + 5, counted=True)

        def cancelled(self, attempt=None):
            ended = None if attempt is None else self.ended(attempt, "cancelled")
            return records.Cancelled(id=self.id, at=AT, ended=ended)

        def refused(self):
            failure = Failure(kind="unauthorized", message="not listed")
            return records.Failed(id=self.id, at=AT, ended=None, failure=failure)

        def never_ran(self, attempt):
            return records.NeverRan(id=self.id, at=AT, attempt=attempt)

        def stop(self, why="cancelled"):
            return records.StopRequested(id=self.id, at=AT, why=why, boot_at=2.0)

        def kill(self):
            return records.KillRequested(id=self.id, at=AT)

        def retry(self):
            return records.RetryRequested(id=self.id, at=AT, run_at=AT)

    return Said()


def mended(*told, claimed=None, submitted):
    """The mending, and the one job of the account; None: there is none."""
    mending = Mending()
    mending.tell(1, [submitted])
    for seq, record in enumerate(told, 2):
        if record is HOLE:
            mending.hole()
        else:
            mending.tell(seq, [record])
    mending.settle(claimed or {}, RULES, NOW, ("now", 7.0))
    return mending, next(iter(mending.jobs), None)


@pytest.fixture
def job(said):
    """Of an account that begins with its submission."""
    return lambda *told, **options: mended(*told, submitted=said.submitted, **options)[1]


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("completed", "completed"), ("failed", "failed"), ("retried", "pending_retry"),
        ("interrupted", "pending_retry"), ("cancelled", "cancelled"), ("never_ran", "pending"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("attempt", [1, 3])
def test_an_end_implies_a_start(said, job, word, status, attempt):
    told = job(HOLE, getattr(said, word)(attempt))

    assert (told.status, told.attempt, told.running) == (status, attempt, None)
    if word != "never_ran":
        assert [ended.attempt for ended in told.history.first] == [attempt]


def test_a_start_implies_the_end_of_the_attempt_before(said, job):
    told = job(said.started(1), HOLE, said.started(2), said.completed(2))

    first, second = told.history.first
    assert (first.outcome, first.failure.message) == ("interrupted", LOST_END)
    assert (second.outcome, told.status) == ("completed", "completed")
    assert told.interruptions == 0


@pytest.mark.parametrize("attempt", [2, 5])
def test_a_start_after_an_end_implies_that_somebody_asked_for_it(said, job, attempt):
    told = job(
        said.started(1), said.completed(1), HOLE, said.started(attempt), claimed={said.id: attempt}
    )

    assert (told.status, told.attempt) == ("running", attempt)
    assert told.history.finished_at is None


def test_a_retry_that_was_asked_for_implies_an_end(said, job):
    for known in ([], [said.started(1)]):
        told = job(*known, HOLE, said.retry())
        assert (told.status, len(told.history.first)) == ("pending", len(known))


def test_a_refusal_at_the_start_implies_that_nothing_runs(said, job):
    told = job(said.started(1), HOLE, said.refused())

    assert (told.status, told.history.failure.kind) == ("failed", "unauthorized")
    assert [ended.outcome for ended in told.history.first] == ["interrupted"]


def test_a_cancel_of_what_had_ended_implies_that_it_was_asked_for_again(said, job):
    assert job(said.started(1), said.completed(1), HOLE, said.cancelled()).status == "cancelled"


def test_more_retries_than_there_are_imply_that_all_were_given_again(said, job):
    told = job(said.started(1), said.retried(1), HOLE, said.started(3), said.retried(3))

    assert (told.status, told.retries_left) == ("pending_retry", 0)


def test_a_stop_implies_a_start_and_the_end_tells_of_which_attempt(said, job):
    for stop in (said.stop(), said.kill()):
        told = job(HOLE, stop, said.cancelled(4))
        assert (told.status, told.attempt) == ("cancelled", 4)
        assert [ended.attempt for ended in told.history.first] == [4]


def test_what_may_have_ended_in_the_hole_was_interrupted(said, job):
    told = job(said.started(1), HOLE)

    assert (told.status, told.interruptions) == ("pending_retry", 1)
    assert told.history.first[0].failure.message == LOST_END
    assert told.run_at == NOW + told.policy.retry_delay


def test_what_was_to_fail_when_interrupted_fails(said, make):
    submitted = make.submitted(1, on_interrupt="fail")

    _, told = mended(said.started(1), HOLE, submitted=submitted)

    assert (told.status, told.history.failure.kind) == ("failed", "interrupted")


def test_what_somebody_had_cancelled_is_cancelled(said, job):
    for told in (
        job(said.started(1), said.stop(), HOLE),
        job(said.started(1), HOLE, said.stop()),
        job(HOLE, said.stop()),
    ):
        assert told.status == "cancelled"


def test_what_left_a_claim_may_be_alive_and_is_left_running(said, job):
    told = job(said.started(1), HOLE, claimed={said.id: 1})

    assert (told.status, told.running.boot_id, told.history) == ("running", "b", None)


@pytest.mark.parametrize("known", ["", "started", "completed", "stop"])
def test_a_claim_of_an_attempt_that_nobody_told_of_is_taken_for_its_start(said, job, known):
    """What is alive is found by the next daemon, so that nothing runs twice."""
    before = {"completed": [said.started(1), said.completed(1)], "started": [said.started(1)]}
    told = job(
        *before.get(known, []), HOLE, *([said.stop()] if known == "stop" else []),
        claimed={said.id: 3},
    )  # fmt: skip

    assert (told.status, told.attempt, told.running.number) == ("running", 3, 3)
    assert (told.running.boot_id, told.running.boot_at) == ("now", 7.0)
    assert told.running.cancelled == (known == "stop")


def test_a_claim_of_an_attempt_that_is_over_is_no_start(said, job):
    assert job(said.started(1), said.completed(1), HOLE, claimed={said.id: 1}).status == "completed"
    assert job(said.started(1), said.retried(1), HOLE, claimed={said.id: 1}).attempt == 1


def test_what_ran_when_nothing_was_lost_after_its_start_still_runs(said, job):
    assert job(HOLE, said.started(1)).status == "running"


def test_what_is_told_of_the_past_changes_nothing(said, job):
    told = job(said.started(1), said.completed(1), said.failed(1), said.started(1))

    assert (told.status, told.history.result, len(told.history.first)) == ("completed", b"1", 1)


def test_a_job_without_a_beginning_is_lost_and_its_last_word_told(said):
    mending = Mending()
    mending.hole()
    mending.tell(9, [said.started(1), said.completed(1)])

    [lost] = mending.lost
    assert (lost.id, lost.last_seq, lost.last) == (said.id, 10, said.completed(1))
    assert mending.jobs == []


def test_a_job_without_a_beginning_that_was_said_again_or_removed_is_not_lost(said, make):
    for last in (make.kept(1), said.removed):
        mending = Mending()
        mending.tell(9, [said.started(1), last])
        assert mending.lost == []
        assert len(mending.jobs) == (last is not said.removed)


def test_a_request_id_that_was_used_again_implies_that_the_first_job_was_removed(said, make):
    again = records.Submitted(
        id=said.id[:12] + "0009", at=AT, by="uid:1000", call=b"{}",
        policy=said.submitted.policy, run_at=AT,
    )  # fmt: skip
    mending = Mending()
    mending.tell(1, [said.submitted, said.started(1), said.completed(1)])
    mending.hole()
    mending.tell(9, [again])

    assert [job.id for job in mending.jobs] == [again.id]


def test_jobs_of_which_only_damaged_bytes_speak_are_told_apart(said, make):
    mending, _ = mended(submitted=said.submitted)
    mending.hole([make.id(n) for n in (1, 2, 3, 4)])
    mending.tell(9, [make.started(2), make.removed(3)])

    assert mending.hinted == [make.id(4)]  # one is known, one lost, one was removed later


def test_jobs_that_wait_and_may_have_ended_are_named(said, make):
    mending, first = mended(HOLE, submitted=said.submitted)
    mending.tell(9, [make.submitted(9)])

    assert mending.may_run_again == [first]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 40),
    holes=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 25)), min_size=1, max_size=4),
)
def test_however_many_holes_there_are_no_end_is_undone_and_no_success_made_up(life, seed, holes):
    one = life(seed, 120)
    count = len(one.commits)
    gone = {n for at, size in holes for n in range(int(at * count), int(at * count) + size)}
    mending, lost = Mending(), set()
    for n, (seq, said) in enumerate(one.commits):
        if n in gone:
            lost |= set(range(seq, seq + len(said)))
            mending.hole()
        else:
            mending.tell(seq, said)
    mending.settle({}, RULES, NOW, ("c", 7.0))
    found = {job.id: snapshot(job, 0.0) for job in mending.jobs}

    one.check(found, lost)
    engine = Engine(RULES, boot_id="c")
    for seq, kept in enumerate(found.values(), 10_000):
        engine.replay(seq, decode(encode(seq, [kept])).records)  # it can be written, and served
    assert len(engine.jobs) == len(found)
