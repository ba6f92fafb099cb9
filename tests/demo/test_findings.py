"""The summary of the demo says what happened, also when it is not what should have happened."""

from __future__ import annotations

import pytest

from jobd.demo.findings import Findings
from jobd.errors import Conflict


def spoilt(told, name):
    """The one statement that no longer holds; all others do."""
    [broken] = [finding for finding in Findings(*told).all() if not finding.held]
    assert broken == getattr(Findings(*told), name)()
    return broken.text


def test_a_story_that_went_as_it_should_holds_throughout(told):
    assert all(finding.held for finding in Findings(*told).all())


def test_figures_are_added_up_from_the_documents(told):
    findings = Findings(*told)
    assert findings.counted("imports") == {"os": 6}
    assert findings.cost() == (
        "6 jobs, 7 attempts in 4.60 s; 3.50 s of CPU time, the largest process 1.0 MiB"
    )


def test_a_part_that_failed_is_named_with_its_failure(told):
    failure = {"kind": "exception", "message": "SyntaxError: no"}
    told[1].documents["second"].update(status="failed", failure=failure, result=None)
    text = spoilt(told, "surveyed")
    assert text.startswith("2 of 3 parts")
    assert "second: failed, exception: SyntaxError: no" in text


def test_one_too_many_at_the_same_time_is_told(told):
    told[1].max_running = 1
    assert spoilt(told, "within_limit").startswith("at most 2 ran at the same time")


def test_a_job_that_starts_before_a_more_urgent_one_is_told(told):
    told[1].documents["second"]["attempts"][0]["started_at"] = "2026-01-31T08:00:00.900000Z"
    assert "before 0 of the 1" in spoilt(told, "overtaken")


def test_a_start_before_its_time_is_told(told):
    told[1].documents["archive"]["delay"] = 2.2
    assert "delay 2.2 s, started 2.100 s after" in spoilt(told, "delayed")


def test_an_archiver_that_failed_is_told(told):
    told[1].documents["archive"]["attempts"][0]["exit_code"] = 2
    assert "ended with code 2" in spoilt(told, "delayed")


def test_a_check_that_needed_no_retry_is_told(told):
    del told[1].documents["check"]["attempts"][0]
    told[1].documents["check"]["attempts"][0]["failure"] = None
    assert "attempt 1 ended with success" in spoilt(told, "retried")


def test_an_archive_that_differs_is_told(told):
    told[1].documents["check"]["result"]["differing"] = ["email/header.py"]
    assert "1 of them other than installed" in spoilt(told, "retried")


def test_a_search_that_ended_by_itself_is_told(told):
    told[1].documents["search"]["attempts"][0].update(outcome="completed", failure=None)
    assert "with success" in spoilt(told, "timed_out")


@pytest.mark.parametrize("refusal", [None, Conflict("busy")])
def test_a_refusal_that_did_not_come_is_told(told, refusal):
    told[0].refusal = refusal
    assert "was not refused" in spoilt(told, "refused")


def test_a_refusal_that_made_a_job_or_was_not_logged_is_told(told):
    told[1].listed.add("another")
    assert "1 jobs made" in spoilt(told, "refused")
    told[1].listed.discard("another")
    told[1].refusal_logged = None
    assert "not logged" in spoilt(told, "refused")


def test_a_submission_that_was_done_twice_is_told(told):
    told[0].repeated.id = "another"
    assert "jobs made: 2" in spoilt(told, "repeated")


def test_a_job_that_never_started_is_told(told):
    gone = {"kind": "unauthorized", "message": "no longer on the list"}
    told[1].documents["search"].update(attempts=[], attempt=0, failure=gone)
    [broken] = [finding for finding in Findings(*told).all() if not finding.held]
    assert broken.text == "search: failed without a start, unauthorized: no longer on the list"
