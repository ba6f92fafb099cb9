"""What an end means: codes that are a success, ends after which nothing is run again."""

from __future__ import annotations

import pytest

covers = pytest.mark.covers

EXIT_3 = ["/bin/sh", "-c", "exit 3"]
TRUE = ["/bin/true"]


@covers("field:success_codes")
def test_a_code_that_counts_as_success_completes_the_job(shared):
    done = shared.run(command=EXIT_3, success_codes=[0, 3])
    assert (done["status"], done["failure"]) == ("completed", None)
    assert (done["attempts"][0]["outcome"], done["attempts"][0]["exit_code"]) == ("completed", 3)
    assert done["success_codes"] == [0, 3]


@covers("field:success_codes")
def test_where_0_is_not_among_them_it_is_a_failure(shared):
    done = shared.run(command=TRUE, success_codes=[3])
    assert (done["status"], done["failure"]["kind"]) == ("failed", "exit")
    assert done["failure"]["exit_code"] == 0


@covers("field:success_codes")
def test_they_go_with_a_command_only(shared):
    refused = shared.refusal("submit", target="jobs:echo", success_codes=[0])
    assert (refused.code, refused.fields) == (-32602, {"success_codes"})


@covers("field:success_codes")
@pytest.mark.parametrize("value", [[], 0, "0", ["0"], [True], [1.0], [-1], None, {"0": 1}])
def test_success_codes_are_an_array_of_exit_codes(shared, value):
    refused = shared.refusal("submit", command=TRUE, success_codes=value)
    assert (refused.code, refused.fields) == (-32602, {"success_codes"})


ENDS = [
    pytest.param({"command": EXIT_3}, 3, "exit", id="exit code"),
    pytest.param({"command": ["/bin/sh", "-c", "kill -SEGV $$"]}, "SIGSEGV", "signal", id="signal"),
    pytest.param({"target": "jobs:boom"}, "jobs:Trouble", "exception", id="exception"),
    pytest.param({"target": "jobs:boom"}, "jobs.Trouble", "exception", id="dotted"),
    pytest.param({"target": "jobs:boom"}, "ValueError", "exception", id="its base"),
    pytest.param({"target": "jobs:leave", "args": [3]}, 3, "exit", id="exit code of a callable"),
]


@covers("field:no_retry_on")
@pytest.mark.parametrize(("job", "end", "kind"), ENDS)
def test_after_an_end_that_is_named_the_job_fails_at_once(shared, job, end, kind):
    done = shared.run(**{**job, "no_retry_on": ["SIGHUP", 99, end], "retry_attempts": 3})
    assert (done["status"], done["failure"]["kind"]) == ("failed", kind)
    assert (done["attempt"], done["retries_left"]) == (1, 3)


@covers("field:no_retry_on")
@pytest.mark.parametrize(("job", "_end", "kind"), ENDS)
def test_any_other_end_is_retried(shared, job, _end, kind):
    named = ["SIGHUP", 99, "KeyError", "jobs:Other", 1]
    done = shared.run(**{**job, "no_retry_on": named, "retry_attempts": 1, "retry_delay": 0})
    assert (done["status"], done["failure"]["kind"]) == ("failed", kind)
    assert done["attempt"] == 2


@covers("field:no_retry_on")
def test_a_timeout_is_retried_whatever_is_named(shared):
    done = shared.run(
        command=["/bin/sleep", "600"], timeout=0.2, no_retry_on=["SIGTERM"], retry_attempts=1,
        retry_delay=0,
    )  # fmt: skip
    assert (done["failure"]["kind"], done["attempt"]) == ("timeout", 2)


@covers("field:no_retry_on")
def test_an_exception_is_stored_in_the_colon_form(shared):
    named = [2, "SIGSEGV", "ValueError", "app.errors.Permanent", "app.errors:Other"]
    done = shared.run(command=TRUE, no_retry_on=named)
    assert done["no_retry_on"] == [
        2, "SIGSEGV", "ValueError", "app.errors:Permanent", "app.errors:Other",
    ]  # fmt: skip


@covers("field:no_retry_on")
@pytest.mark.parametrize(
    "value",
    [["SIGNONE"], ["Trouble"], ["a b"], ["a:b:c"], [-1], [1.5], [True], [None], "SIGSEGV", None],
)
def test_what_is_no_end_is_refused(shared, value):
    refused = shared.refusal("submit", command=TRUE, no_retry_on=value)
    assert (refused.code, refused.fields) == (-32602, {"no_retry_on"})


@covers("field:limits")
def test_limits_are_shown_as_they_are_stored(shared):
    limits = {"memory": 1 << 30, "cpu_time": 60, "processes": 50, "open_files": 64, "nice": 1}
    done = shared.run(command=TRUE, limits=limits)
    assert done["status"] == "completed"
    assert done["limits"] == limits
    assert shared.run(command=TRUE)["limits"] == {}


@covers("field:limits")
@pytest.mark.parametrize(
    ("limits", "fields"),
    [
        ({"memory": 1000, "nice": 20}, {"limits.memory", "limits.nice"}),
        ({"cpu_time": "5", "disk": 1}, {"limits.cpu_time", "limits.disk"}),
        ({"open_files": 15, "processes": True}, {"limits.open_files", "limits.processes"}),
        ([], {"limits"}),
        (None, {"limits"}),
    ],
)
def test_every_wrong_limit_is_named(shared, limits, fields):
    refused = shared.refusal("submit", command=TRUE, limits=limits, priority=99)
    assert refused.code == -32602
    assert refused.fields == fields | {"priority"}
