"""The judge of the campaign finds each kind of broken promise, and none in a clean ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

JUDGE = Path(__file__).with_name("judge.py")
OK = {"ends": "exit", "code": 3, "failing": 0, "retries": 0}


def intent(token="c-1", t=1.0, **means):
    return {"type": "intent", "t": t, "token": token, "means": {**OK, **means}}


def told(token="c-1", id="job1", duplicate=False):
    return {"type": "told", "t": 1.1, "token": token, "id": id, "duplicate": duplicate}


def attempt(number=1, outcome="completed", code=0, second=10):
    return {
        "attempt": number, "outcome": outcome, "exit_code": code, "signal": None,
        "started_at": f"1970-01-01T00:00:{second:02}.000000Z",
        "finished_at": f"1970-01-01T00:00:{second + 1:02}.000000Z",
    }  # fmt: skip


def outcome(*attempts, status="completed", failure=None, id="job1", t=3.0):
    attempts = attempts or (attempt(),)
    return {
        "type": "outcome", "t": t, "id": id, "status": status, "attempt": len(attempts),
        "attempts": attempts, "failure": failure,
    }  # fmt: skip


def begun(number=1, t=2.0, id="job1", token="c-1", type="start"):
    return {"type": type, "id": id, "attempt": number, "token": token, "pid": 7, "t": t}


def ended(number=1, t=2.5, id="job1"):
    return begun(number, t, id, type="end")


def listed(*ids):
    return {"type": "listed", "t": 9.0, "ids": ids}


def killed(what, at):
    return {"what": what, "killed_at": at}


CLIENT = [intent(), told(), outcome(), listed("job1")]
JOBS = [begun(), ended()]

INTERRUPTED = [
    intent(), told(), outcome(attempt(1, "interrupted", None, 10), attempt(2, second=20)),
    listed("job1"),
]  # fmt: skip
INTERRUPTED_JOBS = [begun(1), begun(2, 2.2), ended(2)]


def verdict(directory, client, jobs, kills=()):
    """The exit code, and how many of each kind were found."""
    for name, lines in {"client-1": client, "jobs": jobs, "killed": kills}.items():
        whole = "".join(json.dumps(line) + "\n" for line in lines)
        (directory / f"{name}.jsonl").write_text(whole)
    return judged(directory)


def judged(directory):
    ran = subprocess.run(
        [sys.executable, "-I", str(JUDGE), str(directory)], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    last = ran.stdout.splitlines()[-1]
    assert last.startswith("verdict: "), ran
    counts = (each.split() for each in last.removeprefix("verdict: ").split(", "))
    return ran.returncode, {kind: int(n) for n, kind in counts if n != "0"}


def test_a_clean_ledger_has_nothing_to_blame(tmp_path):
    assert verdict(tmp_path, CLIENT, JOBS) == (0, {})


def test_an_attempt_may_be_interrupted_by_the_death_of_its_keeper(tmp_path):
    kills = [killed("daemon", 2), killed("keeper", 10.5)]
    assert verdict(tmp_path, INTERRUPTED, INTERRUPTED_JOBS, kills) == (0, {})


def test_a_cancelled_job_need_not_run(tmp_path):
    cancelled = {**outcome(status="cancelled"), "attempts": [], "attempt": 0}
    client = [intent(), told(), {"type": "cancel", "t": 1.2, "id": "job1"}, cancelled]
    assert verdict(tmp_path, [*client, listed("job1")], []) == (0, {})


def test_a_removed_job_need_not_be_listed(tmp_path):
    removed = {"type": "removed", "t": 4.0, "id": "job1"}
    assert verdict(tmp_path, [*CLIENT[:3], removed, listed()], JOBS) == (0, {})


def test_a_job_that_failed_as_it_was_to_is_in_order(tmp_path):
    tried = outcome(attempt(1, "exit", 3), attempt(2, "exit", 3), status="failed", failure="exit")
    client = [intent(failing=9, retries=1), told(), tried, listed("job1")]
    assert verdict(tmp_path, client, [begun(), ended(), begun(2), ended(2)]) == (0, {})


@pytest.mark.parametrize(
    ("kind", "client", "jobs"),
    [
        ("lost", [intent(), told(), listed("job1")], JOBS),
        ("lost", [intent(), told(), outcome(status="running"), listed("job1")], JOBS),
        ("lost", [intent("c-2"), *CLIENT], JOBS),
        ("lost", [*CLIENT[:3], listed()], JOBS),
        ("lost", CLIENT[:3], JOBS),
        ("overlapping", CLIENT, [*JOBS, begun(type="overlap")]),
        ("rerun", CLIENT, [*JOBS, begun(2, t=2.9)]),
        ("rerun", CLIENT, [begun(), begun(), ended()]),
        ("rerun", INTERRUPTED, INTERRUPTED_JOBS),
        ("unknown", [*CLIENT[:3], listed("job1", "job2")], JOBS),
        ("unknown", CLIENT, [*JOBS, begun(id="job2", token="c-2")]),
        ("changed", [*CLIENT, outcome(status="failed", t=4.0)], JOBS),
        ("changed", [*CLIENT, {"type": "removed", "t": 4.0, "id": "job1"}], JOBS),
        ("wrong", CLIENT, [begun()]),
        ("wrong", [intent(failing=1), *CLIENT[1:]], JOBS),
        ("wrong", [intent(), told(), outcome(attempt(code=1)), listed("job1")], JOBS),
        ("wrong", [intent(), told(), outcome(status="cancelled"), listed("job1")], JOBS),
        ("wrong", CLIENT, [begun(token="c-9"), ended()]),
        ("early", [intent(delay=60), *CLIENT[1:]], JOBS),
    ],
)
def test_a_broken_promise_is_found_and_named(tmp_path, kind, client, jobs):
    assert verdict(tmp_path, client, jobs) == (1, {kind: 1})


def test_attempts_of_one_job_in_the_wrong_order_overlap(tmp_path):
    kills = [killed("keeper", 10.5)]
    jobs = [begun(2), begun(1, 2.2), ended(2)]
    assert verdict(tmp_path, INTERRUPTED, jobs, kills) == (1, {"overlapping": 1})


def test_a_start_after_a_final_outcome_was_told_is_a_rerun(tmp_path):
    assert verdict(tmp_path, CLIENT, [begun(t=3.5), ended()]) == (1, {"rerun": 1})


def test_a_keeper_that_died_at_another_time_interrupted_nothing(tmp_path):
    kills = [killed("keeper", 15), killed("daemon", 10.5)]
    assert verdict(tmp_path, INTERRUPTED, INTERRUPTED_JOBS, kills) == (1, {"rerun": 1})


def test_one_submission_told_as_two_jobs_is_doubled(tmp_path):
    second = [told(id="job2", duplicate=True), outcome(id="job2"), listed("job1", "job2")]
    jobs = [*JOBS, begun(id="job2"), ended(id="job2")]
    code, found = verdict(tmp_path, [*CLIENT[:3], *second], jobs)
    assert code == 1
    assert found["doubled"]


def test_a_second_job_that_ran_for_one_submission_is_doubled_although_nobody_was_told(tmp_path):
    code, found = verdict(tmp_path, CLIENT, [*JOBS, begun(id="job2"), ended(id="job2")])
    assert code == 1
    assert found == {"doubled": 1, "unknown": 1}


def test_a_line_cut_short_is_not_passed_over(tmp_path):
    verdict(tmp_path, CLIENT, JOBS)
    with open(tmp_path / "jobs.jsonl", "a") as file:
        file.write('{"type":"sta')
    assert judged(tmp_path) == (1, {"unreadable": 1})
