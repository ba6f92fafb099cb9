"""`jobctl submit`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobd.errors import InvalidParams, QueueFull, Unauthorized

JOB = "a" * 16
STORED = {"id": JOB, "status": "pending", "duplicate": False}


@pytest.fixture
def sent(daemon):
    """What the daemon was asked by `submit`, without its request_id."""
    daemon.on("submit", STORED)

    def sent():
        method, params = daemon.asked()
        assert method == "submit"
        assert params.pop("request_id")
        return params

    return sent


def test_the_id_is_printed_and_nothing_else(jobctl, sent):
    assert jobctl("submit", "app.jobs:Send", "user_id:=123", "greeting=hello") == (
        0,
        f"{JOB}\n",
        "",
    )
    assert sent() == {"target": "app.jobs:Send", "kwargs": {"user_id": 123, "greeting": "hello"}}


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", "app:f", "x", "--queue", "mail"),
        ("submit", "--queue", "mail", "app:f", "x"),
        ("submit", "app:f", "--queue=mail", "x"),
        ("--json", "submit", "app:f", "--queue", "mail", "x"),
    ],
)
def test_options_may_stand_anywhere(jobctl, sent, arguments):
    assert jobctl(*arguments)[0] == 0
    assert sent() == {"target": "app:f", "args": ["x"], "queue": "mail"}


def test_every_option_is_its_field(jobctl, sent):
    code, _, err = jobctl(
        "submit", "app:f", "--queue", "mail", "--priority", "7", "--delay", "1.5m", "--retries",
        "2", "--retry-delay", "3s", "--backoff", "exponential", "--retry-max-delay", "1h",
        "--retry-jitter", "0.5", "--timeout", "2h", "--kill-grace", "5", "--stop-signal", "int",
        "--on-interrupt", "fail", "--label", "nightly", "--tag", "a", "--tag", "b", "--env",
        "A=b=c", "--cwd", "/srv", "--idle-timeout", "10m", "--success-codes", "0,3",
        "--no-retry-on", "4,SIGSEGV,app:Fatal", "--memory", "1.5MiB", "--cpu-time", "1m",
        "--processes", "5", "--open-files", "64", "--nice", "-5",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert sent() == {
        "target": "app:f", "queue": "mail", "priority": 7, "delay": 90, "retry_attempts": 2,
        "retry_delay": 3, "backoff": "exponential", "retry_max_delay": 3600, "retry_jitter": 0.5,
        "timeout": 7200, "kill_grace": 5, "stop_signal": "SIGINT", "on_interrupt": "fail",
        "label": "nightly", "tags": ["a", "b"], "env": {"A": "b=c"}, "cwd": "/srv",
        "idle_timeout": 600, "success_codes": [0, 3], "no_retry_on": [4, "SIGSEGV", "app:Fatal"],
        "limits": {
            "memory": 1572864, "cpu_time": 60, "processes": 5, "open_files": 64, "nice": -5,
        },
    }  # fmt: skip


def test_no_limit_at_all_can_be_asked_for(jobctl, sent):
    jobctl("submit", "app:f", "--timeout", "none", "--idle-timeout", "none")
    assert sent() == {"target": "app:f", "timeout": None, "idle_timeout": None}


@pytest.mark.parametrize("name", ["memory", "cpu_time", "processes", "open_files", "nice"])
def test_a_limit_of_the_config_can_be_lifted(jobctl, sent, name):
    jobctl("submit", "app:f", f"--{name.replace('_', '-')}", "none")
    assert sent() == {"target": "app:f", "limits": {name: None}}


def test_an_instant_is_sent_in_utc(jobctl, sent):
    jobctl("submit", "app:f", "--at", "2026-01-31T08:00:00+01:00")
    assert sent()["run_at"] == "2026-01-31T07:00:00.000000Z"


def test_a_request_id_of_one_s_own_is_sent(jobctl, daemon):
    daemon.on("submit", {**STORED, "duplicate": True})
    code, out, err = jobctl("submit", "app:f", "--request-id", "mine")
    assert (code, out) == (0, f"{JOB}\n") and "no new job" in err
    assert daemon.asked()[1]["request_id"] == "mine"


def test_a_submission_that_was_lost_and_found_again_is_no_repetition(jobctl, daemon, scripted):
    daemon.on("submit", scripted.DROP, {**STORED, "duplicate": True})
    assert jobctl("submit", "app:f") == (0, f"{JOB}\n", "")


def test_who_interrupts_it_before_an_answer_is_told_that_the_job_may_be_stored(daemon, scripted):
    daemon.on("submit", scripted.DROP)
    source = str(Path(__file__).parents[2] / "src")
    jobctl = subprocess.Popen(
        [sys.executable, "-m", "jobd.cli.jobctl", "submit", "app:f"],
        env={**os.environ, "PYTHONPATH": source}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for _ in range(2):
        daemon.asked()
    jobctl.send_signal(signal.SIGINT)
    out, err = jobctl.communicate(timeout=10)
    assert (jobctl.returncode, out) == (130, "")
    assert "may be stored" in err and daemon.path in err


def test_a_command_follows_two_dashes_with_options_of_its_own(jobctl, sent):
    jobctl("submit", "--queue", "disk", "--", "rsync", "-a", "--json", "x=1", "--", "y")
    assert sent() == {"command": ["rsync", "-a", "--json", "x=1", "--", "y"], "queue": "disk"}


def test_here_and_env_take_what_the_caller_has(jobctl, sent, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPORT_DATE", "2026-01-31")
    jobctl("submit", "--here", "--env", "REPORT_DATE", "--", "make")
    assert sent() == {"command": ["make"], "cwd": os.getcwd(), "env": {"REPORT_DATE": "2026-01-31"}}


def test_json_prints_the_answer_and_nothing_else(jobctl, sent):
    code, out, err = jobctl("submit", "--json", "app:f")
    assert (code, json.loads(out), err) == (0, STORED, "")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["submit"], "what is to run"),
        (["submit", "--"], "either TARGET or"),
        (["submit", "app:f", "--", "true"], "either TARGET or"),
        (["submit", "app:f", "--priority", "high"], "no whole number"),
        (["submit", "app:f", "--delay", "soon"], "write 90, 90s"),
        (["submit", "app:f", "--at", "noon"], "local HH:MM"),
        (["submit", "app:f", "--nonsense"], "unrecognized"),
        (["submit", "app:f", "--memory", "lots"], "write 1048576, 512KiB"),
        (["submit", "app:f", "--cpu-time", "long"], "write 90, 90s"),
        (["submit", "app:f", "--processes", "few"], "no whole number"),
        (["submit", "app:f", "--success-codes", "0,x"], "no whole number"),
        (["submit", "app:f", "--prio", "3"], "unrecognized"),
        (["submit", "app:f", "--env", "NOT_SET_ANYWHERE"], "no such variable"),
        (["submit", "app:f", "--cwd", "/", "--here"], "either --cwd or --here"),
        (["submit", "app:f", "--from", "-"], "either --from"),
        (["submit", "app:f", "n:=x"], "no JSON"),
    ],
)
def test_wrong_usage_is_2_and_nothing_is_sent(jobctl, daemon, arguments, why):
    code, out, err = jobctl(*arguments)
    assert (code, out) == (2, "")
    assert why in err
    assert daemon.all_asked() == []


@pytest.mark.parametrize("flag", ["--key", "--if-exists", "--after", "--weight", "--expires"])
@pytest.mark.parametrize("verb", ["submit", "run"])
def test_a_field_of_a_later_release_says_so(jobctl, daemon, flag, verb):
    code, _, err = jobctl(verb, "app:f", flag, "x")
    assert code == (2 if verb == "submit" else 125)
    assert f"{flag} comes in a later release" in err
    assert daemon.all_asked() == []


def test_a_refusal_of_the_allow_list_is_4_and_names_the_socket(jobctl, daemon):
    daemon.on("submit", Unauthorized("app:f is not allowed"))
    code, out, err = jobctl("submit", "app:f")
    assert (code, out) == (4, "")
    assert "app:f is not allowed" in err and daemon.path in err


def test_bad_fields_are_7_each_on_a_line_of_its_own(jobctl, daemon):
    daemon.on("submit", InvalidParams.of([("priority", "must be at most 10"), ("queue", "no")]))
    code, _, err = jobctl("submit", "app:f", "--priority", "11")
    assert code == 7
    assert "  priority: must be at most 10\n  queue: no\n" in err


def test_a_full_queue_is_7(jobctl, daemon):
    daemon.on("submit", QueueFull("max_pending reached"))
    assert jobctl("submit", "app:f")[0] == 7


def test_nothing_heavy_is_imported_on_the_way(daemon):
    """Each of these costs as much as a third of a bare interpreter's start, or more."""
    daemon.on("submit", STORED)
    heavy = ("asyncio", "dataclasses", "pathlib", "rich", "shutil", "tempfile", "tomlkit",
             "pydantic", "concurrent", "datetime", "secrets", "typing")  # fmt: skip
    code = (
        "import sys; from jobd.cli.jobctl import main;"
        "main(['submit', 'app:f', 'x:=1', '--delay', '5']);"
        f"print(set({heavy!r}) & sys.modules.keys())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == f"{JOB}\nset()\n"


# --from


@pytest.fixture
def stored_many(daemon):
    count = iter(range(1, 100_000))
    daemon.on(
        "submit_many",
        lambda params, say: {
            "jobs": [{**STORED, "id": f"{next(count):016}"} for _ in params["jobs"]]
        },
    )


@pytest.fixture
def one_by_one(stored_many, monkeypatch):
    monkeypatch.setattr("jobd.cli.submitting.BATCH_JOBS", 1)


def test_a_file_is_submitted_in_batches_and_the_ids_printed(
    jobctl, daemon, stored_many, tmp_path, monkeypatch
):
    monkeypatch.setattr("jobd.cli.submitting.BATCH_JOBS", 2)
    file = tmp_path / "jobs"
    file.write_text(
        '{"target": "app:f", "args": [1]}\n\n{"command": ["/bin/true"]}\n{"target":"g:h"}'
    )
    code, out, err = jobctl("submit", "--from", str(file))
    assert (code, out.split(), err) == (0, [f"{n:016}" for n in (1, 2, 3)], "")
    first, second = (params["jobs"] for _, params in daemon.all_asked())
    assert [len(first), len(second)] == [2, 1]
    assert first[0].pop("request_id") and first[0] == {"target": "app:f", "args": [1]}


def test_a_batch_is_bounded_in_bytes_too(jobctl, daemon, stored_many, tmp_path):
    file = tmp_path / "jobs"
    line = json.dumps({"target": "app:f", "args": ["x" * 400_000]})
    file.write_text(f"{line}\n" * 3)
    assert jobctl("submit", "--from", str(file))[0] == 0
    assert [len(params["jobs"]) for _, params in daemon.all_asked()] == [2, 1]


def test_options_hold_where_a_line_says_nothing(jobctl, daemon, stored_many, tmp_path):
    file = tmp_path / "jobs"
    file.write_text('{"target": "app:f"}\n{"target": "app:f", "queue": "own", "request_id": "r"}\n')
    jobctl("submit", "--from", str(file), "--queue", "mail")
    _, params = daemon.asked()
    assert [job["queue"] for job in params["jobs"]] == ["mail", "own"]
    assert params["jobs"][1]["request_id"] == "r"


@pytest.mark.parametrize("line", ["{", "[]", '{"a": NaN}', "\udc80", "5"])
def test_a_bad_line_is_named_and_what_was_stored_before_it_told(
    jobctl, daemon, one_by_one, tmp_path, line
):
    file = tmp_path / "jobs"
    file.write_bytes(b'{"target": "app:f"}\n' * 2 + line.encode("utf-8", "surrogateescape"))
    code, out, err = jobctl("submit", "--from", str(file))
    assert code == 2
    assert f"{file}:3: " in err
    stored = len(out.split())
    assert f"the first {stored} jobs" in err and stored == len(daemon.all_asked())


def test_a_file_that_is_not_there_is_wrong_usage(jobctl, daemon, tmp_path):
    code, _, err = jobctl("submit", "--from", str(tmp_path / "none"))
    assert code == 2 and "No such file" in err
