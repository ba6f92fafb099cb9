"""The room that is set aside for a job suffices for the largest records that it can lead to."""

from __future__ import annotations

import pytest

from jobd.core import lifecycle, promises, records
from jobd.core.fields import CODES_MAX, EXIT_CODE_MAX, STRING_MAX
from jobd.core.job import ATTEMPTS_KEPT, Ended, Failure, History, Job, Limits, Policy, Progress
from jobd.journal.format import encode
from jobd.supervisor.ending import ending_of

AT = 1_763_775_316.123456
LATE = 99_999_999_999.123456
BOOT_ID = "01234567-89ab-cdef-0123-456789abcdef"
SEQ = 10**15
ATTEMPT = 10**9
FACTS = {
    "pid": 4_194_304, "ended_at": LATE, "exit_code": None, "signal": "SIGVTALRM",
    "cpu_time": 123456789.123456, "max_rss": 1 << 50, "callable": True,
}  # fmt: skip
FURTHEST = Progress(0.1234567890123456, "\x00" * 255)
NASTY = '"\\\n\x1b\x00é\u2028'


def size(*kept):
    """Of the commit that holds nothing else."""
    return len(encode(SEQ, kept))


def about(**fields):
    return {"id": "0123456789abcdef", "at": LATE, **fields}


def ended(ending):
    failure = None
    if ending.kind != "completed":
        failure = Failure(
            kind=ending.kind, message=ending.message, traceback=ending.traceback,
            exit_code=ending.exit_code, signal=ending.signal,
        )  # fmt: skip
    return Ended(
        attempt=ATTEMPT, pid=ending.pid, started_at=LATE, finished_at=LATE, outcome=ending.kind,
        exit_code=ending.exit_code, signal=ending.signal, cpu_time=ending.cpu_time,
        max_rss=ending.max_rss, failure=failure, progress=FURTHEST,
    )  # fmt: skip


STOPS = (
    records.StopRequested(**about(why="timeout", boot_at=LATE)),
    records.StopRequested(**about(why="cancelled", boot_at=LATE)),
    records.KillRequested(**about()),
)


def test_what_waits_can_be_cancelled_and_removed():
    assert size(records.Cancelled(**about(ended=None))) <= promises.WAITING_BYTES
    assert size(records.Removed(**about())) <= promises.REMOVAL_BYTES


def test_a_submission_fits_with_what_waiting_and_removing_it_takes():
    call = b'{"command":["true"]}'
    policy = Policy(
        queue="q" * 64, priority=7, retry_attempts=999, retry_delay=1234567.125,
        retry_max_delay=1234567.125, retry_jitter=0.123456789, timeout=1234567.125,
        kill_grace=1234567.125, stop_signal="SIGVTALRM", on_interrupt="fail",
        backoff="exponential", idle_timeout=1234567.125,
        limits=Limits(
            memory=1 << 62, cpu_time=1234567.125, processes=1 << 22, open_files=1 << 30, nice=-20
        ),
    )  # fmt: skip
    record = records.Submitted(**about(by="uid:4294967294", call=call, policy=policy, run_at=LATE))
    more = promises.WAITING_BYTES + promises.REMOVAL_BYTES
    assert size(record) - len(call) + more <= promises.SUBMITTED_BYTES


def test_the_longest_parts_of_a_policy_are_counted_with_it():
    call = b'{"command":["true"]}'
    policy = Policy(
        queue="q" * 64, priority=7, retry_attempts=999, retry_delay=1234567.125,
        retry_max_delay=1234567.125, retry_jitter=0.123456789, timeout=1234567.125,
        kill_grace=1234567.125, stop_signal="SIGVTALRM", on_interrupt="fail",
        backoff=(1234567.125,) * 500, cwd="/" + NASTY * 1000, idle_timeout=1234567.125,
        success_codes=(EXIT_CODE_MAX,) * CODES_MAX, no_retry_on=("é" * STRING_MAX,) * CODES_MAX,
        limits=Limits(
            memory=1 << 62, cpu_time=1234567.125, processes=1 << 22, open_files=1 << 30, nice=-20
        ),
    )  # fmt: skip
    record = records.Submitted(**about(by="uid:4294967294", call=call, policy=policy, run_at=LATE))
    more = promises.WAITING_BYTES + promises.REMOVAL_BYTES
    assert size(record) + more <= promises.submission_bytes(call, policy)
    assert size(record) > 20_000


def test_a_wish_to_run_again_fits_with_what_waiting_takes():
    record = records.RetryRequested(**about(run_at=LATE))
    assert size(record) + promises.WAITING_BYTES <= promises.RETRY_BYTES


def test_a_start_and_a_refusal_fit():
    started = records.Started(**about(attempt=ATTEMPT, boot_id=BOOT_ID, boot_at=LATE))
    never_ran = records.NeverRan(**about(attempt=ATTEMPT))
    assert size(started) + size(never_ran) <= promises.START_BYTES
    why = Failure(kind="unauthorized", message="x" * 1024)
    assert size(records.Failed(**about(ended=None, failure=why))) <= promises.START_BYTES


@pytest.mark.parametrize(
    "result",
    ["x" * 65_000, "\x00" * 10_900, NASTY * 4_000, ["a"] * 16_000, {"é" * 32_000: 1.5}],
    ids=["text", "controls", "mixed", "many", "name"],
)
def test_the_largest_results_fit(result):
    import json

    ending = ending_of(FACTS | {"exit_code": 0, "signal": None}, json.dumps({"ok": result}))
    record = records.Completed(**about(ended=ended(ending), result=ending.result))
    assert ending.kind == "completed" or len(json.dumps(result, ensure_ascii=False)) > 65_536
    assert size(record) + size(*STOPS) <= promises.RUNNING_BYTES


@pytest.mark.parametrize("text", ["x", "\n", '"', "\\", "\x00", "\x1b[1m", "é", "\u2028", NASTY])
def test_the_largest_failures_fit(text):
    import json

    said = {"exception": {"type": "T" * 2000, "message": text * 9000, "traceback": text * 90_000}}
    ending = ending_of(FACTS, json.dumps(said))
    assert ending.traceback
    record = records.Failed(**about(ended=ended(ending), failure=ended(ending).failure))
    assert size(record) + size(*STOPS) <= promises.RUNNING_BYTES


@pytest.mark.parametrize("text", ["x", "\n", '"', "\x00", NASTY])
def test_the_largest_failures_to_start_fit(text):
    ending = ending_of(FACTS | {"spawn": text * 5000}, None)
    record = records.Failed(**about(ended=ended(ending), failure=ended(ending).failure))
    assert size(record) + size(*STOPS) <= promises.RUNNING_BYTES


def test_what_is_said_again_of_a_job_with_the_longest_history_is_no_more_than_was_reckoned():
    """Compaction asks for twice a job's weight."""
    job = Job(
        id="0123456789abcdef", number=1, by="uid:1000", call=b'{"command":["true"]}',
        policy=Policy(no_retry_on=("é" * STRING_MAX,) * CODES_MAX), submitted_at=LATE, run_at=LATE,
    )  # fmt: skip
    failed = ending_of(FACTS | {"callable": False}, None)
    job.history = History(finished_at=LATE)
    for _ in range(2 * ATTEMPTS_KEPT):
        job.history.add(ended(failed))
    assert size(lifecycle.snapshot(job, LATE)) <= 2 * job.weight()
