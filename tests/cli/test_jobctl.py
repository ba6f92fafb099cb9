"""jobctl's verbs, their exit codes, and what they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobd.cli import wording
from jobd.cli.jobctl import LATER, VERBS
from jobd.errors import Conflict, InternalError, NotFound, StorageError, Unauthorized

JOB = "a" * 16
OTHER = "b" * 16


def test_help_names_every_command(jobctl):
    code, out, _ = jobctl("--help")
    assert code == 0
    assert all(f"\n  {verb} " in out for verb in VERBS)
    assert jobctl("--version") == (0, "jobctl 0.1.0\n", "")


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_help_of_its_own(jobctl, verb):
    code, out, _ = jobctl(verb, "--help")
    assert code == 0 and "--json" in out


@pytest.mark.parametrize("verb", LATER)
def test_a_command_of_a_later_release_is_2_and_says_so(jobctl, daemon, verb):
    code, _, err = jobctl(verb)
    assert code == 2 and "later release" in err
    assert daemon.all_asked() == []


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["status"], ["wait", JOB, "--timeout", "x"],
                  ["--socket"], ["list", "--limit", "many"]],
)  # fmt: skip
def test_wrong_usage_is_2(jobctl, daemon, arguments):
    code, out, err = jobctl(*arguments)
    assert (code, out) == (2, "") and err


@pytest.mark.parametrize("verb", [[], ["ping"], ["status", JOB], ["list"], ["stats"]])
def test_no_daemon_is_3_and_names_the_socket_and_the_remedy(jobctl, tmp_path, verb):
    path = str(tmp_path / "none")
    code, out, err = jobctl("--socket", path, *verb)
    assert (code, out) == (3, "")
    assert path in err and "jobd run" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [(Unauthorized("no"), 4), (NotFound("no"), 5), (Conflict("no"), 6), (StorageError("no"), 7),
     (InternalError("no"), 7)],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["status", "cancel", "retry", "remove"])
def test_each_refusal_has_its_exit_code_and_names_the_socket(jobctl, daemon, error, code, verb):
    daemon.on(verb, error)
    got, out, err = jobctl(verb, JOB)
    assert (got, out) == (code, "")
    assert daemon.path in err


def test_the_candidates_of_an_ambiguous_prefix_are_listed(jobctl, daemon):
    daemon.on("status", NotFound("2 jobs begin with aaaa", candidates=[JOB, OTHER]))
    _, _, err = jobctl("status", "aaaa")
    assert JOB in err and OTHER in err


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize(
    "asked",
    [
        (["status", JOB], "status", {"id": JOB}),
        (["cancel", JOB], "cancel", {"id": JOB, "status": "cancelled"}),
        (["retry", JOB], "retry", {"id": JOB, "status": "pending"}),
        (["remove", JOB], "remove", {}),
        (["list"], "list", {"jobs": [], "cursor": None}),
        (["wait", JOB], "wait", {"jobs": [], "timed_out": False}),
        (["logs", JOB], "logs", {"attempt": 1, "data": "x", "offset": 1, "eof": True,
                                 "skipped": 0, "lossy": False}),
        (["stats"], "stats", {"jobs": {}}),
        (["ping"], "ping", {"name": "jobd"}),
        (["reload"], "reload", {"changed": [], "restart": []}),
        (["drain"], "drain", {"running": 0}),
        (["shutdown"], "shutdown", {}),
    ],
)  # fmt: skip
def test_json_prints_the_rpc_result_and_nothing_else(jobctl, daemon, where, asked):
    verb, method, answer = asked
    daemon.on(method, answer)
    arguments = ["--json", *verb] if where == "before" else [*verb, "--json"]
    code, out, err = jobctl(*arguments)
    assert (code, json.loads(out), err) == (0, answer, "")
    assert out.count("\n") == 1


def test_several_ids_are_answered_in_order_and_the_first_refusal_is_the_code(jobctl, daemon):
    def cancel(params, say):
        if params["id"] == "none":
            return NotFound("no such job")
        return {"id": params["id"], "status": "cancelled"}

    daemon.on("cancel", cancel)
    code, out, err = jobctl("cancel", JOB, "none", OTHER)
    assert code == 5
    assert out == f"{JOB}  cancelled\n{OTHER}  cancelled\n"
    assert "none: no such job" in err


def test_force_and_delay_are_sent(jobctl, daemon):
    daemon.on("cancel", {"id": JOB, "status": "cancelled"})
    jobctl("cancel", "--force", JOB)
    daemon.on("retry", {"id": JOB, "status": "pending"})
    jobctl("retry", JOB, "--delay", "2m")
    assert [params for _, params in daemon.all_asked()] == [
        {"id": JOB, "force": True}, {"id": JOB, "delay": 120},
    ]  # fmt: skip


# wait


@pytest.mark.parametrize(
    "answer",
    [(["completed", "completed"], False, 0), (["completed", "failed"], False, 1),
     (["cancelled"], False, 1), (["running"], True, 124), (["failed", "running"], True, 124)],
)  # fmt: skip
def test_wait_s_exit_code(jobctl, daemon, document, answer):
    statuses, timed_out, code = answer
    jobs = [document(status=status) for status in statuses]
    daemon.on("wait", {"jobs": jobs, "timed_out": timed_out})
    got, out, _ = jobctl("wait", *[JOB] * len(statuses), "--any", "--timeout", "1m")
    assert got == code
    assert out.splitlines() == [f"{JOB}  {status}" for status in statuses]
    _, params = daemon.asked()
    assert params["any"] is True and 59 < params["timeout"] <= 60


def test_drain_that_ran_out_of_time_is_124(jobctl, daemon):
    daemon.on("drain", {"running": 2})
    assert jobctl("drain", "--timeout", "1")[:2] == (124, "2 running\n")
    assert jobctl("drain", "--off")[:2] == (0, "jobs are started again\n")


# list, status, stats, alone


def test_list_fills_up_short_pages_until_its_limit(jobctl, daemon, document):
    page = [document()] * 2
    daemon.on("list", {"jobs": page, "cursor": "x"}, {"jobs": [], "cursor": "y"},
              {"jobs": page[:1], "cursor": "z"})  # fmt: skip
    code, out, _ = jobctl(
        "list", "--limit", "3", "--status", "failed,cancelled", "--tag", "t", "--json"
    )
    assert code == 0
    assert json.loads(out) == {"jobs": [document()] * 3, "cursor": "z"}
    asked = [params for _, params in daemon.all_asked()]
    assert asked[0] == {"status": ["failed", "cancelled"], "tag": "t", "limit": 3}
    assert [(params["limit"], params.get("cursor")) for params in asked] == [
        (3, None), (1, "x"), (1, "y"),
    ]  # fmt: skip


def test_a_table_in_a_pipe_is_plain_and_whole(jobctl, daemon, document):
    long = "x" * 300
    daemon.on("list", {"jobs": [document(label=long)], "cursor": None})
    _, out, _ = jobctl("list")
    heading, row = out.splitlines()
    assert heading.split() == ["ID", "STATUS", "JOB", "QUEUE", "ATTEMPT", "WHEN"]
    assert JOB in row and long in row and "\x1b" not in out


def test_status_shows_what_matters(jobctl, daemon, failed):
    daemon.on("status", failed("exception", message="ValueError: no\x1b[2J", result=None))
    code, out, _ = jobctl("status", JOB)
    assert code == 0
    assert "app.jobs:Send@handle" in out and '{"user_id": 123}' in out and "0.25s" in out
    assert "exception: ValueError: no\\x1b[2J" in out and "\x1b" not in out


def test_alone_it_shows_what_runs_waits_and_failed_last(jobctl, daemon, document, failed):
    daemon.on(
        "list", {"jobs": [document(status="running", finished_at=None)], "cursor": None},
        {"jobs": [], "cursor": None}, {"jobs": [failed("exception")], "cursor": None},
    )  # fmt: skip
    daemon.on("stats", {"jobs": {"running": 1, "failed": 1, "pending": 0}})
    code, out, _ = jobctl()
    assert code == 0
    assert out.startswith("1 running, 1 failed\n")
    assert "Running\n" in out and "Failed last\n" in out and "Waiting" not in out


def test_stats_shows_every_figure(jobctl, daemon):
    daemon.on("stats", {
        "jobs": {"pending": 5}, "queues": {"mail": {"pending": 5, "running": 0, "max_running": None,
        "paused": False}}, "running": 0, "max_running": 2, "uptime_s": 3700.0,
        "journal": {"bytes": 4096}, "throughput": {"per_s": 1.5},
    })  # fmt: skip
    _, out, _ = jobctl("stats")
    assert "1h01m" in out and "journal.bytes" in out and "throughput.per_s" in out and "mail" in out


# logs and events


def piece(data, offset, eof=False, **more):
    return {"attempt": 1, "data": data, "offset": offset, "eof": eof, "skipped": 0,
            "lossy": False, **more}  # fmt: skip


def test_logs_prints_everything_there_is(jobctl, daemon):
    daemon.on("logs", piece("one\n", "4.0"), piece("two\n", "8.0", skipped=7), piece("", "8.0"))
    code, out, err = jobctl("logs", JOB, "--tail", "5")
    assert (code, out) == (0, "one\ntwo\n") and "7 bytes of the output are not kept" in err
    assert [params for _, params in daemon.all_asked()] == [
        {"id": JOB, "stream": "both", "tail": 5},
        {"id": JOB, "stream": "both", "attempt": 1, "offset": "4.0"},
        {"id": JOB, "stream": "both", "attempt": 1, "offset": "8.0"},
    ]


@pytest.mark.parametrize(
    ("flags", "stream"),
    [(["--stdout"], "stdout"), (["--stderr"], "stderr"), (["--stdout", "--stderr"], "both")],
)
def test_one_stream_alone_can_be_had(jobctl, daemon, flags, stream):
    daemon.on("logs", piece("x", 1, eof=True))
    jobctl("logs", JOB, *flags, "--attempt", "2")
    assert daemon.asked()[1] == {"id": JOB, "stream": stream, "attempt": 2}


def test_logs_follows_until_the_job_has_ended(jobctl, daemon):
    def follow(params, say):
        say("log", {"id": JOB, "attempt": 1, "stream": "both", "data": "one ", "offset": "4.0"})
        return piece("two\n", "8.0", eof=True)

    daemon.on("logs", follow)
    assert jobctl("logs", "-f", JOB) == (0, "one two\n", "")


def test_where_something_was_left_out_that_is_said_beside_the_output(jobctl, daemon):
    def follow(params, say):
        told = {"id": JOB, "attempt": 1, "stream": "both"}
        say("log", {**told, "data": "one\n", "offset": "4.0", "skipped": 0})
        say("log", {**told, "data": "", "offset": "5004.0", "skipped": 5000})
        return piece("two\n", "5008.0", eof=True)

    daemon.on("logs", follow, follow)
    code, out, err = jobctl("logs", "-f", JOB)
    assert (code, out) == (0, "one\ntwo\n")
    assert "5,000 bytes of the output are not kept" in err
    _, out, err = jobctl("logs", "-f", JOB, "--json")
    assert err == ""
    assert [json.loads(line)["skipped"] for line in out.splitlines()] == [0, 5000, 0]


def test_all_of_it_is_asked_for_where_a_piece_is_only_what_was_left_out(jobctl, daemon):
    daemon.on("logs", piece("", "9.0", skipped=9), piece("end\n", "13.0", eof=True))
    assert jobctl("logs", JOB)[1] == "end\n"


def test_events_prints_a_line_for_each(daemon):
    """In a process of its own: it ends only when nobody reads any more."""
    event = {"seq": 5, "at": "2026-01-31T08:00:00.000000Z", "id": JOB, "status": "running",
             "attempt": 1, "queue": "default"}  # fmt: skip

    def tell(params, say):
        for seq in range(1000):
            say("event", {**event, "seq": seq})
        return {"subscription": 1, "seq": 0}

    def confirm(params, say):
        import threading

        threading.Timer(0.05, tell, (params, say)).start()
        return {"subscription": 1, "seq": 0}

    daemon.on("events", confirm)
    events = start("events", "--queue", "default")
    assert events.stdout.readline().split()[2:] == ["0", JOB, "running", "default", "attempt", "1"]
    events.stdout.close()
    assert events.wait(10) == 141  # as `head` would leave it


def start(*arguments, **options):
    source = str(Path(__file__).parents[2] / "src")
    return subprocess.Popen(
        [sys.executable, "-m", "jobd.cli.jobctl", *arguments], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": source}, **options,
    )  # fmt: skip


# Tables on a terminal.


@pytest.mark.parametrize("width", [44, 80, 200])
def test_on_a_terminal_ids_are_whole_however_narrow_it_is(daemon, document, width):
    daemon.on("list", {"jobs": [document(label="y" * 300)], "cursor": None})
    out = on_terminal(width, {})
    assert JOB in out
    assert "\x1b[" in out
    assert ("QUEUE" in out) == (width >= 80)


def test_no_color_is_honoured(daemon, document):
    daemon.on("list", {"jobs": [document()], "cursor": None})
    assert "\x1b[3" not in on_terminal(80, {"NO_COLOR": "1"})


def on_terminal(width, environment):
    import pty

    main, terminal = pty.openpty()
    source = str(Path(__file__).parents[2] / "src")
    listing = subprocess.Popen(
        [sys.executable, "-m", "jobd.cli.jobctl", "list"], stdout=terminal, stdin=terminal,
        env={**os.environ, "PYTHONPATH": source, "TERM": "xterm-256color", "COLUMNS": str(width),
             **environment},
    )  # fmt: skip
    os.close(terminal)
    out = b""
    while True:
        try:
            chunk = os.read(main, 65536)
        except OSError:  # EIO: the other side was closed
            break
        if not chunk:
            break
        out += chunk
    os.close(main)
    assert listing.wait(10) == 0
    return out.decode()


# Words.


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.004, "0.00s"), (9.99, "9.99s"), (9.999, "10s"), (59.4, "59s"), (60, "1m00s"),
     (185, "3m05s"), (7800, "2h10m"), (356400, "4d03h")],
)  # fmt: skip
def test_durations_are_short(seconds, text):
    assert wording.duration(seconds) == text


def test_the_moment_that_matters(document):
    now = wording.epoch("2026-01-31T08:10:00Z")
    assert wording.when(document(), now) == "9m56s ago"
    running = document(status="running", finished_at=None, stopping="timeout")
    assert wording.when(running, now) == "for 9m59s, stopping (timeout)"
    waiting = document(status="pending", finished_at=None, run_at="2026-01-31T08:10:30Z")
    assert wording.when(waiting, now) == "in 30s"
    assert wording.when({**waiting, "run_at": "2026-01-31T08:00:00Z"}, now) == "ready"


@pytest.mark.parametrize(
    ("progress", "text"),
    [(None, ""), ({"fraction": 0.29, "message": None}, "29%"),
     ({"fraction": 1, "message": "page\x1b 5"}, "100%, page\\x1b 5")],
)  # fmt: skip
def test_progress_in_words(progress, text):
    assert wording.progress({"progress": progress}) == text


def test_what_a_terminal_would_obey_is_shown_as_text():
    assert wording.printable("a\x1b[31m\n\u202eb") == "a\\x1b[31m\\n\\u202eb"
