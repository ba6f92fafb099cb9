"""The lines of the two job logs."""

from __future__ import annotations

import json

import pytest

from jobd.core import records
from jobd.core.job import Ended, Failure, Policy

ERRORS = "background_jobs_errors.log"
ID = "0123456789abcdef"


@pytest.fixture
def ended(noon):
    def make(kind="exception", message="ValueError: boom", attempt=1) -> Ended:
        failure = None if kind == "completed" else Failure(kind=kind, message=message)
        return Ended(
            attempt=attempt, pid=7, started_at=noon, finished_at=noon, outcome=kind, failure=failure
        )

    return make


@pytest.fixture
def started(noon):
    return lambda attempt=1: records.Started(
        id=ID, at=noon, attempt=attempt, boot_id="b", boot_at=1.0
    )


def test_a_start_is_told_in_the_form_that_the_contract_gives(joblog, lines, fact, started) -> None:
    joblog().announce([fact(started())])
    (line,) = lines()
    assert line == (
        "[2024-11-12 15:45:00] jobd.INFO: Job started: app.jobs:SendWelcomeEmail@handle "
        f'{{"id":"{ID}","params":{{"user_id":123}},"status":"running","attempt":1,'
        '"timestamp":"2024-11-12T15:45:00.123456Z"}'
    )
    assert lines(ERRORS) == []


def test_each_end_is_told_with_its_level_status_and_error(joblog, lines, fact, ended, noon) -> None:
    joblog().announce([
        fact(records.Completed(id=ID, at=noon, ended=ended("completed"), result=b"1")),
        fact(records.Retried(id=ID, at=noon, ended=ended(), run_at=noon + 5)),
        fact(records.Interrupted(
            id=ID, at=noon, ended=ended("interrupted", "the host died"), run_at=noon + 5,
            counted=True,
        )),
        fact(records.Cancelled(id=ID, at=noon, ended=None), attempt=0),
        fact(records.Failed(id=ID, at=noon, ended=ended(), failure=ended().failure)),
    ])  # fmt: skip
    job = f'app.jobs:SendWelcomeEmail@handle {{"id":"{ID}","params":{{"user_id":123}}'
    run_at = '"run_at":"2024-11-12T15:45:05.123456Z"'
    told = [
        ("INFO: Job completed", '"status":"completed","attempt":1'),
        ("WARNING: Job retrying",
         f'"status":"pending_retry","attempt":1,"error":"ValueError: boom",{run_at}'),
        ("WARNING: Job retrying",
         f'"status":"pending_retry","attempt":1,"error":"the host died",{run_at}'),
        ("INFO: Job cancelled", '"status":"cancelled","attempt":0'),
        ("ERROR: Job failed", '"status":"failed","attempt":1,"error":"ValueError: boom"'),
    ]  # fmt: skip
    at, stamp = "[2024-11-12 15:45:00] jobd", '"timestamp":"2024-11-12T15:45:00.123456Z"'
    assert lines() == [f"{at}.{what}: {job},{facts},{stamp}}}" for what, facts in told]
    assert lines(ERRORS) == lines()[-1:]


def test_what_moves_no_job_is_not_told(joblog, lines, fact, noon) -> None:
    joblog().announce([
        fact(records.Submitted(id=ID, at=noon, by="x", call=b"{}", policy=Policy(), run_at=noon)),
        fact(records.StopRequested(id=ID, at=noon, why="cancelled", boot_at=1.0)),
        fact(records.KillRequested(id=ID, at=noon)),
        fact(records.NeverRan(id=ID, at=noon, attempt=1)),
        fact(records.RetryRequested(id=ID, at=noon, run_at=noon)),
        fact(records.Removed(id=ID, at=noon)),
    ])  # fmt: skip
    assert lines() == []


def test_a_failure_without_words_is_told_by_its_kind(joblog, lines, fact, noon) -> None:
    failure = Failure(kind="spawn", message="")
    joblog().announce([fact(records.Failed(id=ID, at=noon, ended=None, failure=failure))])
    assert '"error":"spawn"' in lines()[0]


def test_a_job_that_the_list_no_longer_admits_is_refused_and_failed(
    joblog, lines, fact, noon
) -> None:
    failure = Failure(kind="unauthorized", message="not listed")
    joblog().announce(
        [fact(records.Failed(id=ID, at=noon, ended=None, failure=failure), attempt=0)]
    )
    refused, failed = lines()
    assert "jobd.ERROR: Unauthorized job execution attempt: app.jobs:SendWelcomeEmail@" in refused
    assert '"status":"unauthorized","attempt":0,"error":"not listed"' in refused
    assert "jobd.ERROR: Job failed: " in failed
    assert lines(ERRORS) == [refused, failed]


def test_an_attempt_that_starts_later_in_the_batch_is_not_counted_before(
    joblog, lines, fact, started, noon
) -> None:
    """The job is as of the end of the batch; each line tells of its own record's time."""
    cancelled = fact(records.Cancelled(id=ID, at=noon, ended=None), attempt=0)
    joblog().announce([
        cancelled,
        fact(started(1), job=cancelled.job, attempt=1),
        fact(started(2), job=cancelled.job, attempt=2),
    ])  # fmt: skip
    assert ['"attempt":0,' in lines()[0], '"attempt":1,' in lines()[1], '"attempt":2,' in lines()[2]
            ] == [True, True, True]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"target": "a:f", "method": None, "kwargs": {"x": "é"}}, ("a:f", {"x": "é"})),
        ({"target": "a:f", "method": None, "args": [1, None]}, ("a:f", [1, None])),
        ({"target": "a:f", "method": None}, ("a:f", {})),
        ({"target": "a:f", "method": None, "args": [1], "kwargs": {"x": 2}},
         ("a:f", {"args": [1], "kwargs": {"x": 2}})),
        ({"command": ["/bin/echo", "a b", ""]}, ("/bin/echo", ["a b", ""])),
        ({"command": ["true"]}, ("true", [])),
        ({"command": ["/opt/my tool"]}, ('"/opt/my tool"', [])),
        ({"command": ["/a\tb"]}, ('"/a\\tb"', [])),
        ({"command": ["/a\u202eb"]}, ('"/a\\u202eb"', [])),
    ],
)  # fmt: skip
def test_subject_and_params_are_those_of_the_call(  # noqa: PLR0917 - fixtures
    joblog, lines, fact, started, call, expected
) -> None:
    joblog().announce([fact(started(), call=call)])
    subject, _, facts = lines()[0].partition("Job started: ")[2].partition(' {"id"')
    assert (subject, json.loads('{"id"' + facts)["params"]) == expected


def test_nothing_that_a_job_says_breaks_a_line_or_a_terminal(
    joblog, lines, fact, started, noon
) -> None:
    nasty = "a\nb\r\x1b[2J\x7f\x9b\u2028\u202e\x85[2024-11-12 15:45:00] jobd.INFO: forged"
    failure = Failure(kind="exception", message=nasty)
    joblog().announce([
        fact(started(), call={"target": "a:f", "method": None, "kwargs": {nasty: nasty}}),
        fact(records.Failed(id=ID, at=noon, ended=None, failure=failure)),
        fact(started(), call={"command": [nasty, nasty]}),
    ])  # fmt: skip
    assert len(lines()) == 3
    assert all(line.isprintable() for line in lines())
    assert json.loads(lines()[0].partition("a:f ")[2])["params"] == {nasty: nasty}


def test_long_params_are_cut_at_2_kib_and_the_line_stays_whole(
    joblog, lines, fact, started
) -> None:
    just = {"x": "é" * 1020}  # 2,048 bytes of JSON
    more = {"x": "é" * 1021}
    for kwargs in (just, more, {"x": "y" * 100_000}):
        call = {"target": "a:f", "method": None, "kwargs": kwargs}
        joblog().announce([fact(started(), call=call)])
    told = [json.loads(line.partition("a:f ")[2])["params"] for line in lines()]
    assert told[0] == just
    assert told[1].startswith('{"x":"éé')
    assert all(len(text.removesuffix("…").encode()) <= 2048 for text in told[1:])
    assert all(text.endswith("…") for text in told[1:])


def test_params_can_be_left_out(joblog, lines, fact, started, noon) -> None:
    log = joblog(params=False)
    log.announce([fact(started())])
    log.refused("uid:1", {"command": ["/bin/sh", "secret"]}, "not listed", noon)
    assert not any("params" in line or "secret" in line for line in lines())


def test_json_says_the_same_one_object_a_line(joblog, lines, fact, started) -> None:
    joblog(format="json").announce([fact(started())])
    assert json.loads(lines()[0]) == {
        "timestamp": "2024-11-12T15:45:00.123456Z", "level": "INFO", "message": "Job started",
        "job": "app.jobs:SendWelcomeEmail@handle", "id": ID, "params": {"user_id": 123},
        "status": "running", "attempt": 1,
    }  # fmt: skip


# -------------------------------------------------------------------------------- refusals


def test_a_refusal_is_told_in_both_logs_with_peer_and_reason(joblog, lines, noon) -> None:
    call = {"command": ["/bin/sh", "-c", "id"], "env": {"SECRET": "x"}}
    joblog().refused("uid:1000", call, "/bin/sh is not on the allow-list", noon)
    (line,) = lines()
    assert line == (
        "[2024-11-12 15:45:00] jobd.ERROR: Unauthorized job execution attempt: /bin/sh "
        '{"params":["-c","id"],"status":"unauthorized","submitted_by":"uid:1000",'
        '"error":"/bin/sh is not on the allow-list","timestamp":"2024-11-12T15:45:00.123456Z"}'
    )
    assert lines(ERRORS) == lines()


def refuse(log, peer: str, at: float, times: int) -> None:
    for _ in range(times):
        log.refused(peer, {"target": "os:system", "method": None}, "no", at)


def test_refusals_of_a_peer_beyond_ten_a_second_are_counted(joblog, lines, noon) -> None:
    log = joblog()
    refuse(log, "uid:1", noon, 1000)
    refuse(log, "uid:2", noon, 3)
    assert len(lines()) == 13
    log.settle(noon + 0.9)
    assert len(lines()) == 13
    log.settle(noon + 1)
    assert len(lines()) == 14
    assert "jobd.ERROR: Unauthorized job execution attempts " in lines()[-1]
    assert '"submitted_by":"uid:1","count":990' in lines()[-1]
    refuse(log, "uid:1", noon + 1, 5)
    assert len(lines()) == 19


def test_the_next_refusal_tells_the_count_of_the_second_before(joblog, lines, noon) -> None:
    log = joblog()
    refuse(log, "uid:1", noon, 11)
    refuse(log, "uid:1", noon + 5, 1)
    assert '"count":1,' in lines()[-2]
    assert len(lines()) == 12


def test_the_count_is_told_at_the_end_and_after_the_clock_was_set_back(joblog, lines, noon) -> None:
    log = joblog()
    refuse(log, "uid:1", noon, 12)
    log.settle(noon - 3600)
    assert '"count":2,' in lines()[-1]
    refuse(log, "uid:1", noon, 13)
    log.close(noon)
    assert '"count":3,' in lines()[-1]


def test_a_reload_changes_form_and_rotation(joblog, lines, fact, started, tmp_path) -> None:
    from jobd.config.tables import LoggingTable

    log = joblog()
    log.announce([fact(started())])
    log.follow(LoggingTable(format="json", rotate=4096))
    log.announce([fact(started())])
    assert json.loads(lines()[1])["id"] == ID
    log.announce([fact(started())] * 100)
    assert len(list(tmp_path.glob("background_jobs.log.*"))) == 1
