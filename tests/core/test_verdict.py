"""What the end of an attempt means: the stop on record names it, else the process."""

import pytest

from jobd.core.job import Ending, Job, Policy, Running
from jobd.core.records import Cancelled, Completed, Failed, Interrupted, Retried
from jobd.core.rules import Rules
from jobd.core.verdict import verdict

NOW = 500.0
RULES = Rules(max_running=1, max_interruptions=3)


def running(*, stopping=None, cancelled=False, interruptions=0, retries_left=None, **policy):
    job = Job(
        id="0" * 16, number=1, by="uid:1", call=b"{}", policy=Policy(**policy),
        submitted_at=0.0, run_at=0.0,
    )  # fmt: skip
    job.attempt = 1
    job.interruptions = interruptions
    if retries_left is not None:
        job.retries_left = retries_left
    job.running = Running(
        number=1, started_at=400.0, boot_id="boot", boot_at=1.0, stopping=stopping,
        cancelled=cancelled or stopping == "cancelled",
    )  # fmt: skip
    return job


def ending(kind, **ending):
    return Ending(kind=kind, pid=77, **ending)


def test_a_process_that_completed_completes_its_job_with_its_result():
    record = verdict(
        running(), ending("completed", result=b'{"a":1}', cpu_time=0.5), RULES, NOW, 0.0
    )
    assert isinstance(record, Completed)
    assert record.result == b'{"a":1}'
    assert (record.ended.pid, record.ended.cpu_time, record.ended.failure) == (77, 0.5, None)
    assert (record.ended.started_at, record.ended.finished_at) == (400.0, NOW)


@pytest.mark.parametrize("kind", ["exception", "exit", "signal", "spawn"])
def test_a_failure_with_retries_left_is_retried_after_the_delay(kind):
    record = verdict(running(retry_delay=30.0), ending(kind, message="why"), RULES, NOW, 0.0)
    assert isinstance(record, Retried)
    assert record.run_at == NOW + 30
    assert record.ended.outcome == record.ended.failure.kind == kind


def test_later_retries_wait_by_the_backoff():
    job = running(retry_attempts=5, retries_left=2, retry_delay=10.0, backoff="linear")
    assert verdict(job, ending("exit"), RULES, NOW, 0.0).run_at == NOW + 40


def test_the_jitter_is_rolled_into_the_instant():
    job = running(retry_delay=10.0, retry_jitter=0.5)
    assert verdict(job, ending("exit"), RULES, NOW, 0.5).run_at == NOW + 12.5


@pytest.mark.parametrize("kind", ["exception", "exit", "signal", "spawn", "timeout"])
def test_a_failure_with_no_retries_left_fails_the_job(kind):
    job = running(retry_attempts=0, timeout=9.0, stopping="timeout" if kind == "timeout" else None)
    record = verdict(job, ending("exit" if kind == "timeout" else kind), RULES, NOW, 0.0)
    assert isinstance(record, Failed)
    assert record.failure.kind == kind


def test_one_that_the_child_found_unauthorized_is_not_retried():
    record = verdict(running(), ending("unauthorized", message="not on the list"), RULES, NOW, 0.0)
    assert isinstance(record, Failed)
    assert record.failure.kind == "unauthorized"


def test_after_a_recorded_timeout_it_is_one_whatever_the_process_returns():
    job = running(stopping="timeout", timeout=9.0)
    record = verdict(job, ending("completed", exit_code=0), RULES, NOW, 0.0)
    assert isinstance(record, Retried)
    assert (record.ended.outcome, record.ended.exit_code) == ("timeout", 0)
    assert record.ended.failure.message == "timed out after 9 s"


def test_after_a_recorded_cancel_it_is_cancelled_whatever_the_process_returns():
    for kind in ("completed", "exit", "signal", "exception", "interrupted"):
        record = verdict(running(stopping="cancelled"), ending(kind, exit_code=0), RULES, NOW, 0.0)
        assert isinstance(record, Cancelled)
        assert (record.ended.outcome, record.ended.exit_code) == ("cancelled", 0)


def test_a_cancel_during_a_timeout_ends_the_job_and_the_attempt_stays_a_timeout():
    job = running(stopping="timeout", cancelled=True, timeout=9.0)
    record = verdict(job, ending("signal", signal="SIGTERM"), RULES, NOW, 0.0)
    assert isinstance(record, Cancelled)
    assert record.ended.outcome == "timeout"


def test_an_interruption_is_run_again_without_spending_a_retry():
    record = verdict(
        running(retry_delay=8.0, retry_attempts=0), ending("interrupted"), RULES, NOW, 0.0
    )
    assert isinstance(record, Interrupted)
    assert record.counted
    assert record.run_at == NOW + 8


def test_interruptions_end_somewhere():
    assert isinstance(
        verdict(running(interruptions=2), ending("interrupted"), RULES, NOW, 0.0), Interrupted
    )
    record = verdict(running(interruptions=3), ending("interrupted"), RULES, NOW, 0.0)
    assert isinstance(record, Failed)
    assert record.failure.kind == "interrupted"


def test_at_most_once_means_that_an_interruption_fails():
    record = verdict(
        running(on_interrupt="fail"), ending("interrupted", message="gone"), RULES, NOW, 0.0
    )
    assert isinstance(record, Failed)
    assert (record.failure.kind, record.failure.message) == ("interrupted", "gone")


@pytest.mark.parametrize("kind", ["completed", "signal", "interrupted"])
def test_a_service_stop_is_an_interruption_that_does_not_count(kind):
    job = running(stopping="shutdown", interruptions=3, retry_delay=2.0)
    record = verdict(job, ending(kind), RULES, NOW, 0.0)
    assert isinstance(record, Interrupted)
    assert not record.counted
    assert (record.ended.outcome, record.run_at) == ("interrupted", NOW + 2)


def test_a_cancel_during_a_service_stop_ends_the_job():
    record = verdict(
        running(stopping="shutdown", cancelled=True), ending("signal"), RULES, NOW, 0.0
    )
    assert isinstance(record, Cancelled)


def test_a_traceback_is_kept_only_of_the_end_that_it_tells_of():
    told = ending("exception", message="ValueError: x", traceback="Traceback …")
    assert verdict(running(), told, RULES, NOW, 0.0).ended.failure.traceback == "Traceback …"
    stopped = verdict(running(stopping="timeout", timeout=1.0), told, RULES, NOW, 0.0)
    assert stopped.ended.failure.traceback is None


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (ending("exit", exit_code=3), "exited with code 3"),
        (ending("signal", signal="SIGKILL"), "killed by SIGKILL"),
        (ending("spawn", exit_code=127, message="no such program"), "no such program"),
    ],
)
def test_every_failure_says_why(told, message):
    assert verdict(running(), told, RULES, NOW, 0.0).ended.failure.message == message


@pytest.mark.parametrize(
    ("ended_at", "finished_at"),
    [(None, NOW), (450.0, 450.0), (399.0, 400.0), (NOW + 9, NOW)],
    ids=["nobody saw it", "while no daemon was there", "before its start", "in the future"],
)
def test_an_attempt_finished_when_its_process_did_however_clocks_were_set(ended_at, finished_at):
    record = verdict(running(), ending("exit", ended_at=ended_at), RULES, NOW, 0.0)
    assert record.ended.finished_at == finished_at
    assert record.run_at == NOW + 5, "waits count from when it is known"
