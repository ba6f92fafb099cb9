"""What the end of an attempt means: the stop on record names it, else the process."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.core.fields import DURATION_MAX_S
from jobd.core.job import Ending, Job, Limits, Policy, Progress, Running
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


# What the policy, and the callable itself, say of an end.


def of_command(exit_code):
    kind = "completed" if exit_code == 0 else "exit"
    return ending(kind, exit_code=exit_code, of_command=True)


def test_an_exit_code_of_a_command_that_counts_as_success_completes_its_job():
    record = verdict(running(success_codes=(0, 3)), of_command(3), RULES, NOW, 0.0)
    assert isinstance(record, Completed)
    assert (record.ended.outcome, record.ended.exit_code) == ("completed", 3)
    assert isinstance(verdict(running(success_codes=(0, 3)), of_command(0), RULES, NOW, 0.0),
                      Completed)  # fmt: skip


def test_where_code_0_is_no_success_it_is_a_failure():
    record = verdict(running(success_codes=(3,)), of_command(0), RULES, NOW, 0.0)
    assert isinstance(record, Retried)
    assert record.ended.failure.message == "exited with code 0"
    assert record.ended.failure.kind == "exit"


def test_success_codes_are_no_business_of_a_callable():
    told = ending("exit", exit_code=3, message="exited with code 3")
    assert isinstance(verdict(running(success_codes=(0, 3)), told, RULES, NOW, 0.0), Retried)
    early = ending("exit", exit_code=0, message="ended before the callable had returned")
    assert isinstance(verdict(running(success_codes=(0,)), early, RULES, NOW, 0.0), Retried)


def test_after_a_recorded_stop_no_code_is_a_success():
    job = running(stopping="timeout", timeout=1.0, success_codes=(0, 3))
    assert verdict(job, of_command(3), RULES, NOW, 0.0).ended.outcome == "timeout"


MRO = ("app.errors.Permanent", "app.errors.Failure", "ValueError", "Exception", "BaseException")


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (2, of_command(2)),
        (2, ending("exit", exit_code=2)),
        ("SIGSEGV", ending("signal", signal="SIGSEGV")),
        ("app.errors:Permanent", ending("exception", mro=MRO)),
        ("app.errors:Failure", ending("exception", mro=MRO)),
        ("ValueError", ending("exception", mro=MRO)),
        ("builtins:ValueError", ending("exception", mro=MRO)),
        ("app:errors.Permanent", ending("exception", mro=MRO)),
    ],
)
def test_an_end_that_is_named_fails_the_job_at_once(end, told):
    for named in ((end,), ("SIGHUP", 77, "KeyError", end)):
        record = verdict(running(no_retry_on=named), told, RULES, NOW, 0.0)
        assert isinstance(record, Failed)
        assert record.failure.kind == told.kind


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (2, of_command(3)),
        (1, ending("exception", exit_code=1, mro=MRO)),  # the code is jobd's own doing
        (139, ending("signal", signal="SIGSEGV")),
        ("SIGTERM", ending("signal", signal="SIGKILL")),
        ("SIGKILL", ending("memory", signal="SIGKILL")),
        ("SIGKILL", ending("interrupted", signal="SIGKILL")),
        ("KeyError", ending("exception", mro=MRO)),
        ("other.errors:Permanent", ending("exception", mro=MRO)),
        ("errors:Permanent", ending("exception", mro=MRO)),
        ("app.errors:Perm", ending("exception", mro=MRO)),
        ("ValueError", ending("exception", message="ValueError: but nothing was believed")),
        (127, ending("spawn", exit_code=127)),
    ],
)
def test_any_other_end_is_retried(end, told):
    assert not isinstance(
        verdict(running(no_retry_on=(end,)), told, RULES, NOW, 0.0), Failed | Completed
    )


def test_a_stop_of_jobds_own_is_no_end_that_a_policy_can_name():
    job = running(stopping="timeout", timeout=1.0, no_retry_on=("SIGTERM", 0, "Exception"))
    for told in (ending("signal", signal="SIGTERM"), of_command(0), ending("exception", mro=MRO)):
        assert isinstance(verdict(job, told, RULES, NOW, 0.0), Retried)


def test_what_asks_to_be_run_again_is_after_the_time_it_asks_for_and_spends_a_retry():
    told = ending("exception", mro=("jobd.Retry",), wish="retry", retry_after=60.0)
    job = running(retry_attempts=1, retry_delay=5.0, retry_max_delay=7.0, retry_jitter=1.0)
    record = verdict(job, told, RULES, NOW, 0.5)
    assert isinstance(record, Retried)
    assert record.run_at == NOW + 60
    last = verdict(running(retry_attempts=0), told, RULES, NOW, 0.0)
    assert isinstance(last, Failed)
    assert last.failure.kind == "exception"


def test_what_asks_to_be_run_again_without_a_time_waits_as_its_policy_says():
    told = ending("exception", wish="retry")
    assert verdict(running(retry_delay=8.0), told, RULES, NOW, 0.0).run_at == NOW + 8


def test_the_wish_to_be_run_again_goes_before_the_ends_that_are_named():
    told = ending("exception", mro=("jobd.Retry", "Exception"), wish="retry", retry_after=1.0)
    assert isinstance(verdict(running(no_retry_on=("Exception",)), told, RULES, NOW, 0.0), Retried)


def test_a_wait_beyond_all_bounds_is_bounded():
    told = ending("exception", wish="retry", retry_after=1e300)
    assert verdict(running(), told, RULES, NOW, 0.0).run_at == NOW + DURATION_MAX_S


def test_what_asks_to_fail_is_not_retried():
    told = ending("exception", message="jobd.Fail: no use", wish="fail")
    record = verdict(running(retry_attempts=9), told, RULES, NOW, 0.0)
    assert isinstance(record, Failed)
    assert (record.failure.kind, record.failure.message) == ("exception", "jobd.Fail: no use")


def test_a_wish_after_a_recorded_stop_is_not_heard():
    for wish in ("retry", "fail"):
        job = running(stopping="timeout", timeout=9.0, retry_delay=5.0)
        told = ending("exception", wish=wish, retry_after=60.0)
        record = verdict(job, told, RULES, NOW, 0.0)
        assert isinstance(record, Retried)
        assert record.run_at == NOW + 5


def test_an_attempt_that_was_idle_timed_out_and_the_message_says_idle():
    job = running(stopping="idle", idle_timeout=30.0, timeout=100.0)
    record = verdict(job, ending("signal", signal="SIGTERM"), RULES, NOW, 0.0)
    assert isinstance(record, Retried)
    assert record.ended.outcome == "timeout"
    assert record.ended.failure.message == "idle: no output and no progress for 30 s"


@pytest.mark.parametrize(
    ("told", "limits", "message"),
    [
        (ending("memory"), {"memory": 120 << 20}, "used more memory than its limit of 120 MiB"),
        (ending("memory"), {"memory": 3 << 30}, "used more memory than its limit of 3 GiB"),
        (
            ending("memory"),
            {"memory": (1 << 20) + 1},
            "used more memory than its limit of 1048577 bytes",
        ),
        (ending("cpu_time"), {"cpu_time": 1.5}, "used more CPU time than its limit of 1.5 s"),
        (
            ending("signal", signal="SIGKILL", crowded=True),
            {"processes": 8},
            "had more than 8 processes",
        ),
        (ending("memory", message="used too much"), {}, "used too much"),
    ],
)
def test_an_attempt_that_went_beyond_a_limit_is_retried_and_says_which(told, limits, message):
    record = verdict(running(limits=Limits(**limits)), told, RULES, NOW, 0.0)
    assert isinstance(record, Retried)
    assert record.ended.outcome == told.kind
    assert record.ended.failure.message == message


def test_the_last_progress_stays_with_the_attempt():
    told = Progress(0.5, "half")
    for kind in ("completed", "exit", "interrupted"):
        record = verdict(running(), ending(kind), RULES, NOW, 0.0, progress=told)
        assert record.ended.progress == told
    cancelled = verdict(running(stopping="cancelled"), ending("exit"), RULES, NOW, 0.0,
                        progress=told)  # fmt: skip
    assert cancelled.ended.progress == told


ENDS = st.sampled_from([0, 1, 2, "SIGTERM", "SIGKILL", "ValueError", "app.errors:Failure"])
POLICIES = st.fixed_dictionaries(
    {
        "success_codes": st.lists(st.integers(0, 3), min_size=1).map(tuple),
        "no_retry_on": st.lists(ENDS).map(tuple),
        "retry_attempts": st.integers(0, 2),
        "retry_delay": st.sampled_from([0.0, 5.0]),
        "on_interrupt": st.sampled_from(["retry", "fail"]),
    }
)
KINDS = ["completed", "exit", "signal", "exception", "spawn", "memory", "cpu_time", "unauthorized",
         "interrupted"]  # fmt: skip
ENDINGS = st.builds(
    Ending,
    kind=st.sampled_from(KINDS), exit_code=st.integers(0, 3) | st.none(),
    signal=st.sampled_from([None, "SIGTERM", "SIGKILL"]), of_command=st.booleans(),
    mro=st.sampled_from([(), MRO]), wish=st.sampled_from([None, "retry", "fail"]),
    retry_after=st.sampled_from([None, 0.0, 60.0]),
)  # fmt: skip


@settings(derandomize=True, max_examples=300, deadline=None)
@given(POLICIES, ENDINGS, st.sampled_from([None, "timeout", "idle", "cancelled", "shutdown"]),
       st.integers(0, 2))  # fmt: skip
def test_whatever_ends_however_the_record_is_one_that_the_contract_has(
    policy, told, stopping, spent
):
    job = running(stopping=stopping, timeout=9.0, idle_timeout=9.0, **policy)
    job.retries_left = max(0, job.retries_left - spent)
    before = job.retries_left
    record = verdict(job, told, RULES, NOW, 0.0)
    outcome = record.ended.outcome
    assert (record.ended.failure is None) == (outcome == "completed")
    if isinstance(record, Completed):
        assert stopping is None
        if told.of_command:
            assert told.exit_code in policy["success_codes"]
    if isinstance(record, Retried):
        assert before > 0, "it has a retry to spend"
        assert record.run_at >= NOW
        assert stopping in (None, "timeout", "idle")
        if stopping is None and outcome == "exit":
            assert told.exit_code not in policy["no_retry_on"]
        if stopping is None and outcome == "signal":
            assert told.signal not in policy["no_retry_on"]
    if isinstance(record, Failed) and before > 0 and outcome != "interrupted":
        assert stopping is None, "what was stopped may do better another time"
        assert outcome in ("exit", "signal", "exception", "unauthorized")
    assert isinstance(record, Cancelled) == (stopping == "cancelled")
    if stopping in ("timeout", "idle"):
        assert outcome == "timeout"
