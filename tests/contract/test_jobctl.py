"""`jobctl`, as a shell sees it: what it prints, where, and its exit codes."""

from __future__ import annotations

import json
import re
import signal
import time

import pytest
from outside.waiting import epoch, until

covers = pytest.mark.covers

TRUE = ["/bin/true"]
ID = re.compile(r"[0-9a-z]{16}")


@covers("jobctl:submit", "exit:jobctl 0")
def test_submit_prints_the_id_and_nothing_else(shared):
    ran = shared.jobctl("submit", "jobs:echo", "1")
    assert (ran.code, ran.err) == (0, "")
    assert ID.fullmatch(ran.out.strip())
    assert shared.final(ran.id)["result"] == {"args": ["1"], "kwargs": {}}


@covers("jobctl:submit")
@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["jobs:echo", "a", "b=1", "c:=2"], {"args": ["a"], "kwargs": {"b": "1", "c": 2}}),
        (["jobs:echo", ":=[1, null]", "=x=y", "=", ":=true"],
         {"args": [[1, None], "x=y", "", True]}),
        (["jobs.echo"], {"target": "jobs:echo", "method": None}),
        (["jobs:Mailer", "send", "a@b"], {"method": "send", "args": ["a@b"]}),
        (["jobs:Mailer", "user_id=5"], {"method": "handle", "kwargs": {"user_id": "5"}}),
        (["jobs:echo", "send"], {"method": None, "args": ["send"]}),
        (["jobs:Mailer@fixed", "send"], {"method": "fixed", "args": ["send"]}),
        (["jobs.Mailer@of", "x"], {"target": "jobs:Mailer", "method": "of"}),
    ],
)  # fmt: skip
def test_submit_reads_a_call_as_it_is_written_in_a_shell(shared, words, fields):
    document = shared.final(shared.jobctl("submit", *words, "--retries", "0").id)
    assert {name: document[name] for name in fields} == fields


@covers("jobctl:submit", "exit:jobctl 2")
@pytest.mark.parametrize(
    "words",
    [[], ["--"], ["jobs:echo", "--", "/bin/true"], ["jobs:echo", "a:=nonsense"], ["--nonsense"],
     ["jobs:echo", "--priority", "high"], ["jobs:echo", "--delay", "soon"],
     ["jobs:echo", "--at", "tomorrow"], ["jobs:echo", "a=1", "a=2"], ["--from", "/nowhere/at/all"]],
)  # fmt: skip
def test_wrong_usage_is_2_and_says_why_on_stderr(shared, words):
    ran = shared.jobctl("submit", *words)
    assert ran.code == 2, ran
    assert ran.out == ""
    assert ran.err


@covers("jobctl:submit")
def test_submit_hands_in_a_program_with_all_that_follows(shared):
    ran = shared.jobctl("submit", "--label", "l", "--", "/bin/echo", "--label", "x", "--", "-n")
    document = shared.final(ran.id)
    assert document["command"] == ["/bin/echo", "--label", "x", "--", "-n"]
    assert document["label"] == "l"


FIELDS = [
    pytest.param("--queue", "q-1", "queue", "q-1",
                 marks=covers("option:submit --queue", "option:run --queue")),
    pytest.param("--priority", "7", "priority", 7,
                 marks=covers("option:submit --priority", "option:run --priority")),
    pytest.param("--retries", "0", "retry_attempts", 0,
                 marks=covers("option:submit --retries", "option:run --retries")),
    pytest.param("--retry-attempts", "2", "retry_attempts", 2,
                 marks=covers("option:submit --retry-attempts", "option:run --retry-attempts")),
    pytest.param("--retry-delay", "1.5m", "retry_delay", 90,
                 marks=covers("option:submit --retry-delay", "option:run --retry-delay")),
    pytest.param("--retry-max-delay", "2h", "retry_max_delay", 7200,
                 marks=covers("option:submit --retry-max-delay", "option:run --retry-max-delay")),
    pytest.param("--retry-jitter", "0.5", "retry_jitter", 0.5,
                 marks=covers("option:submit --retry-jitter", "option:run --retry-jitter")),
    pytest.param("--backoff", "linear", "backoff", "linear",
                 marks=covers("option:submit --backoff", "option:run --backoff")),
    pytest.param("--timeout", "1d", "timeout", 86400,
                 marks=covers("option:submit --timeout", "option:run --timeout")),
    pytest.param("--kill-grace", "90s", "kill_grace", 90,
                 marks=covers("option:submit --kill-grace", "option:run --kill-grace")),
    pytest.param("--stop-signal", "SIGINT", "stop_signal", "SIGINT",
                 marks=covers("option:submit --stop-signal", "option:run --stop-signal")),
    pytest.param("--on-interrupt", "fail", "on_interrupt", "fail",
                 marks=covers("option:submit --on-interrupt", "option:run --on-interrupt")),
    pytest.param("--label", "my label", "label", "my label",
                 marks=covers("option:submit --label", "option:run --label")),
    pytest.param("--tag", "t1", "tags", ["t1"],
                 marks=covers("option:submit --tag", "option:run --tag")),
    pytest.param("--cwd", "/tmp", "cwd", "/tmp",
                 marks=covers("option:submit --cwd", "option:run --cwd")),
    pytest.param("--env", "A=b=c", "env", ["A"],
                 marks=covers("option:submit --env", "option:run --env")),
    pytest.param("--delay", "0.01s", "delay", 0.01,
                 marks=covers("option:submit --delay", "option:run --delay")),
    pytest.param("--idle-timeout", "10m", "idle_timeout", 600,
                 marks=covers("option:submit --idle-timeout", "option:run --idle-timeout")),
    pytest.param("--success-codes", "0,3", "success_codes", [0, 3],
                 marks=covers("option:submit --success-codes", "option:run --success-codes")),
    pytest.param("--no-retry-on", "3,SIGSEGV,ValueError,app.errors.Fatal", "no_retry_on",
                 [3, "SIGSEGV", "ValueError", "app.errors:Fatal"],
                 marks=covers("option:submit --no-retry-on", "option:run --no-retry-on")),
    pytest.param("--memory", "512MiB", "limits", {"memory": 512 << 20},
                 marks=covers("option:submit --memory", "option:run --memory")),
    pytest.param("--cpu-time", "1m", "limits", {"cpu_time": 60},
                 marks=covers("option:submit --cpu-time", "option:run --cpu-time")),
    pytest.param("--processes", "50", "limits", {"processes": 50},
                 marks=covers("option:submit --processes", "option:run --processes")),
    pytest.param("--open-files", "64", "limits", {"open_files": 64},
                 marks=covers("option:submit --open-files", "option:run --open-files")),
    pytest.param("--nice", "5", "limits", {"nice": 5},
                 marks=covers("option:submit --nice", "option:run --nice")),
]  # fmt: skip


@pytest.mark.parametrize(("option", "text", "field", "value"), FIELDS)
@pytest.mark.parametrize("verb", ["submit", "run"])
def test_an_option_sets_its_field(shared, verb, option, text, field, value):  # noqa: PLR0917
    ran = shared.jobctl(verb, "--json", option, text, "--", "/bin/true")
    assert ran.code == 0, ran
    document = shared.final(ran.json["id"])
    assert document[field] == value


@covers("option:submit --request-id", "option:run --request-id")
@pytest.mark.parametrize("verb", ["submit", "run"])
def test_the_same_request_id_makes_no_second_job(shared, verb):
    request_id = f"cli {verb} {time.time_ns()}"
    first, second = (
        shared.jobctl(verb, "--json", "--request-id", request_id, "--", "/bin/true")
        for _ in range(2)
    )
    assert first.json["id"] == second.json["id"]


@covers("option:submit --at", "option:run --at", "option:submit --run-at", "option:run --run-at")
def test_at_takes_an_instant_or_a_local_clock(shared):
    ran = shared.jobctl("submit", "--at", "2031-01-02T03:04:05+02:00", "--", "/bin/true")
    assert shared.status(ran.id)["run_at"] == "2031-01-02T01:04:05.000000Z"
    shared.call("cancel", id=ran.id)
    same = shared.jobctl("submit", "--run-at", "2031-01-02T03:04:05Z", "--", "/bin/true")
    assert shared.status(same.id)["run_at"] == "2031-01-02T03:04:05.000000Z"
    shared.call("cancel", id=same.id)
    for option in ("--at", "--run-at"):
        assert shared.jobctl("run", option, "2001-01-01T00:00:00Z", "--", "/bin/true").code == 0
    clock = time.strftime("%H:%M", time.gmtime(time.time() + 3 * 3600 + 9 * 3600))
    local = shared.jobctl("submit", "--at", clock, "--", "/bin/true", env={"TZ": "Asia/Tokyo"})
    wait = epoch(shared.status(local.id)["run_at"]) - time.time()
    assert 3 * 3600 - 90 < wait <= 3 * 3600 + 1, "the clock on the wall here"
    past = time.strftime("%H:%M", time.gmtime(time.time() - 120))
    tomorrow = shared.jobctl("submit", "--at", past, "--", "/bin/true")
    assert epoch(shared.status(tomorrow.id)["run_at"]) - time.time() > 23 * 3600
    for id in (local.id, tomorrow.id):
        shared.call("cancel", id=id)


@covers("option:submit --backoff")
def test_backoff_takes_an_array_of_waits(shared):
    for text in ("1,2.5,1m", "[1, 2.5, 60]"):
        ran = shared.jobctl("submit", "--backoff", text, "--", "/bin/true")
        assert shared.final(ran.id)["backoff"] == [1, 2.5, 60]


@covers("option:submit --here", "option:run --here")
@pytest.mark.parametrize("verb", ["submit", "run"])
def test_here_is_the_callers_directory(shared, verb):
    ran = shared.jobctl(verb, "--json", "--here", "--", "/bin/pwd", cwd=shared.app)
    assert shared.final(ran.json["id"])["cwd"] == str(shared.app)
    assert shared.out(ran.json["id"]).strip() == str(shared.app)


@covers("option:submit --env", "exit:jobctl 2")
def test_env_without_a_value_copies_the_callers(shared):
    ran = shared.jobctl("submit", "--env", "MINE", "--", "/usr/bin/env", env={"MINE": "copied"})
    shared.final(ran.id)
    assert "MINE=copied" in shared.out(ran.id).splitlines()
    assert shared.jobctl("submit", "--env", "NOT_THERE", "--", "/bin/true").code == 2


@covers("option:submit --from")
def test_from_a_file_or_standard_input_come_many(shared):
    lines = "".join(
        json.dumps({"command": ["/bin/echo", str(n)], "priority": 2}) + "\n" for n in range(30)
    )
    path = shared.scratch("jobs.jsonl")
    path.write_text("\n" + lines)
    for ran in (
        shared.jobctl("submit", "--from", str(path)),
        shared.jobctl("submit", "--from", "-", input=lines),
    ):
        assert ran.code == 0, ran
        ids = ran.out.split()
        assert len(ids) == len(set(ids)) == 30
        assert shared.final(ids[29])["command"] == ["/bin/echo", "29"]
        assert shared.final(ids[29])["priority"] == 2
    bad = shared.jobctl("submit", "--from", "-", input='{"command": ["/bin/true"]}\n{nonsense\n')
    assert bad.code == 2
    assert ":2" in bad.err or "line 2" in bad.err
    refused = shared.jobctl("submit", "--from", "-", input='{"command": []}\n')
    assert refused.code == 7
    assert "command" in refused.err


LATER_OPTIONS = [
    pytest.param("--key", "k", marks=covers("option:submit --key", "option:run --key")),
    pytest.param("--after", "abcd", marks=covers("option:submit --after", "option:run --after")),
    pytest.param("--if-exists", "reject",
                 marks=covers("option:submit --if-exists", "option:run --if-exists")),
    pytest.param("--weight", "2", marks=covers("option:submit --weight", "option:run --weight")),
    pytest.param("--expires", "5", marks=covers("option:submit --expires", "option:run --expires")),
]  # fmt: skip


@pytest.mark.parametrize(("option", "value"), LATER_OPTIONS)
def test_an_option_that_comes_later_is_refused_and_says_so(shared, option, value):
    for verb, code in (("submit", 2), ("run", 125)):
        ran = shared.jobctl(verb, option, value, "--", "/bin/true")
        assert (ran.code, ran.out) == (code, "")
        assert option in ran.err
        assert "later" in ran.err


LATER_VERBS = [
    pytest.param("why", marks=covers("jobctl:why")),
    pytest.param("update", marks=covers("jobctl:update")),
    pytest.param("pause", marks=covers("jobctl:pause")),
    pytest.param("resume", marks=covers("jobctl:resume")),
    pytest.param("schedules", marks=covers("jobctl:schedules")),
    pytest.param("doctor", marks=covers("jobctl:doctor")),
    pytest.param("dashboard", marks=covers("jobctl:dashboard")),
]


@pytest.mark.parametrize("verb", LATER_VERBS)
def test_a_command_that_comes_later_is_refused_and_says_so(shared, verb):
    ran = shared.jobctl(verb, "abcd", "--json")
    assert (ran.code, ran.out) == (2, "")
    assert "later" in ran.err


@covers("jobctl:status", "option:status --json")
def test_status_tells_all_about_jobs(shared):
    first = shared.run(target="jobs:boom", args=["what went wrong"], label="My label")
    second = shared.run(command=["/bin/echo", "an argument"])
    ran = shared.jobctl("status", first["id"], second["id"][:13])
    assert ran.code == 0
    for text in (first["id"], second["id"], "My label", "what went wrong", "failed", "an argument"):
        assert text in ran.out
    assert shared.jobctl("status", first["id"], "--json").json == first


@covers("jobctl:list", "option:list --queue", "option:list --tag", "option:list --json")
def test_list_shows_and_filters(shared):
    queue = f"list{time.time_ns()}"
    tagged = shared.run(command=TRUE, queue=queue, tags=["blue"])["id"]
    failed = shared.run(target="jobs:boom", queue=queue)["id"]
    table = shared.jobctl("list", "--queue", queue)
    assert table.code == 0
    assert tagged in table.out
    assert failed in table.out
    by_json = shared.jobctl("--json", "list", "--queue", queue, "--tag", "blue").json
    assert [job["id"] for job in by_json["jobs"]] == [tagged]
    assert by_json == shared.call("list", queue=queue, tag="blue")


@covers("option:list --status", "option:list --target", "option:list --limit")
def test_list_options_are_the_methods_filters(shared):
    queue = f"list{time.time_ns()}"
    ids = [shared.run(target="jobs:nothing", queue=queue)["id"] for _ in range(3)]
    bad = shared.run(command=["/bin/false"], queue=queue)["id"]
    filters = ("list", "--json", "--queue", queue)

    def listed(*options):
        return [job["id"] for job in shared.jobctl(*filters, *options).json["jobs"]]

    assert listed("--status", "failed") == [bad]
    assert listed("--status", "completed,failed") == [bad, *ids[::-1]]
    assert listed("--target", "jobs:nothing") == ids[::-1]
    assert listed("--limit", "2") == [bad, ids[2]]


@covers("option:list --all", "option:list --cursor")
def test_list_goes_page_by_page_or_on_to_the_end(shared):
    queue = f"list{time.time_ns()}"
    ids = [shared.run(command=TRUE, queue=queue)["id"] for _ in range(5)]
    filters = ("list", "--json", "--queue", queue, "--limit", "2")
    first = shared.jobctl(*filters).json
    second = shared.jobctl(*filters, "--cursor", first["cursor"]).json
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == ids[:0:-1]
    everything = shared.jobctl("list", "--queue", queue, "--limit", "2", "--all")
    assert all(id in everything.out for id in ids)


@covers("jobctl:cancel", "option:cancel --force", "option:cancel --json", "exit:jobctl 6")
def test_cancel_ends_jobs(shared):
    ids = [shared.submit(command=TRUE, delay=3600) for _ in range(2)]
    ran = shared.jobctl("cancel", *ids)
    assert ran.code == 0
    assert all(shared.status(id)["status"] == "cancelled" for id in ids)
    running = shared.sh('trap "" TERM; while :; do sleep 0.02; done')
    shared.until_status(running, "running")
    forced = shared.jobctl("cancel", "--force", "--json", running)
    assert forced.json == {"id": running, "status": "cancelled"}
    assert shared.jobctl("cancel", running).code == 6


@covers("jobctl:retry", "option:retry --delay", "option:retry --json")
def test_retry_runs_again(shared):
    done = shared.run(command=TRUE)
    ran = shared.jobctl("retry", "--delay", "1h", "--json", done["id"])
    assert ran.json == {"id": done["id"], "status": "pending"}
    assert epoch(shared.status(done["id"])["run_at"]) > time.time() + 3500
    shared.call("cancel", id=done["id"])
    assert shared.jobctl("retry", done["id"]).code == 0
    assert shared.final(done["id"])["attempt"] == 2


@covers("jobctl:remove", "option:remove --json", "exit:jobctl 5")
def test_remove_forgets(shared):
    done = shared.run(command=TRUE)
    assert shared.jobctl("remove", done["id"], "--json").json == {}
    gone = shared.jobctl("status", done["id"])
    assert (gone.code, gone.out) == (5, "")
    assert str(shared.socket) in gone.err


@covers("jobctl:wait", "option:wait --json", "exit:jobctl 0", "exit:jobctl 1")
def test_wait_is_0_or_1_where_a_job_failed_or_was_cancelled(shared):
    good = shared.submit(command=TRUE)
    assert shared.jobctl("wait", good).code == 0
    bad = shared.submit(command=["/bin/false"])
    assert shared.jobctl("wait", good, bad).code == 1
    cancelled = shared.submit(command=TRUE, delay=3600)
    shared.call("cancel", id=cancelled)
    ran = shared.jobctl("wait", "--json", cancelled, good)
    assert ran.code == 1
    assert ran.json == shared.call("wait", ids=[cancelled, good])


@covers("option:wait --timeout", "option:wait --any", "exit:jobctl 124")
def test_wait_takes_a_timeout_and_any(shared):
    waiting = shared.submit(command=TRUE, delay=3600)
    done = shared.run(command=TRUE)["id"]
    assert shared.jobctl("wait", waiting, "--timeout", "0.1").code == 124
    assert shared.jobctl("wait", waiting, "--timeout", "0").code == 124
    assert shared.jobctl("wait", "--any", waiting, done).code == 0
    failed = shared.run(command=["/bin/false"])["id"]
    assert shared.jobctl("wait", "--any", waiting, failed).code == 1
    shared.call("cancel", id=waiting)


@covers("jobctl:logs", "option:logs --stdout", "option:logs --stderr", "option:logs --tail")
def test_logs_print_what_a_job_wrote(shared):
    id = shared.sh("echo out1; echo out2; echo err >&2")
    shared.final(id)
    assert shared.jobctl("logs", id, "--stdout").out == "out1\nout2\n"
    assert shared.jobctl("logs", id, "--stderr").out == "err\n"
    assert sorted(shared.jobctl("logs", id).out.split()) == ["err", "out1", "out2"]
    assert shared.jobctl("logs", id, "--stdout", "--tail", "1").out == "out2\n"


@covers("option:logs --attempt", "option:logs --json", "exit:jobctl 5")
def test_logs_of_an_attempt(shared):
    id = shared.sh("echo $JOBD_ATTEMPT; exit 1", retry_attempts=1, retry_delay=0)
    shared.final(id)
    assert shared.jobctl("logs", id, "--attempt", "1").out == "1\n"
    assert shared.jobctl("logs", id).out == "2\n"
    assert shared.jobctl("logs", id, "--attempt", "3").code == 5
    by_json = shared.jobctl("logs", id, "--stdout", "--json").json
    assert by_json == shared.call("logs", id=id, stream="stdout")


@covers("option:logs -f", "option:logs --follow")
@pytest.mark.parametrize("option", ["-f", "--follow"])
def test_logs_follow_until_the_job_has_ended(shared, option):
    gate = shared.gate()
    id = shared.sh('echo one; cat "$1"; echo two', str(gate.path))
    process = shared.jobctl_started("logs", option, id)
    assert process.stdout.readline() == "one\n"
    gate.open()
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("two\n", "", 0)
    assert shared.status(id)["status"] == "completed"


@covers("jobctl:stats", "option:stats --json")
def test_stats(shared):
    assert shared.jobctl("stats").code == 0
    told = shared.jobctl("stats", "--json").json
    assert set(told) == set(shared.call("stats"))


def interrupt(process):
    """Until it is heard: one that comes just before the next read is, by Python, heard after it."""
    until(lambda: process.poll() is not None or process.send_signal(signal.SIGINT))
    process.communicate(timeout=30)


@covers("jobctl:events", "option:events --queue", "option:events --status", "option:events --json",
        "option:events --id", "option:events --since")  # fmt: skip
def test_events_tell_what_happens_as_it_happens(shared):
    queue = f"events{time.time_ns()}"
    seq = shared.call("events", id=shared.run(command=TRUE)["id"])["seq"]
    id = shared.run(command=TRUE, queue=queue)["id"]
    for options in (["--queue", queue], ["--id", id]):
        process = shared.jobctl_started(
            "events", "--json", "--since", str(seq), *options, "--status", "running,completed"
        )
        notes = []
        while len(notes) < 2:
            line = json.loads(process.stdout.readline())
            notes += [line] if line.get("status") else []
        interrupt(process)
        assert [(note["id"], note["status"]) for note in notes] == [
            (id, "running"), (id, "completed"),
        ]  # fmt: skip
    plain = shared.jobctl_started("events", "--since", str(seq), "--id", id)
    assert id in plain.stdout.readline()
    plain.kill()
    plain.communicate(timeout=30)


@covers("jobctl:ping", "option:ping --json")
def test_ping(shared):
    told = shared.jobctl("ping")
    assert told.code == 0
    assert str(shared.pid) in told.out
    assert shared.jobctl("ping", "--json").json == shared.call("ping")


@covers("jobctl:reload", "option:reload --json", "exit:jobctl 7")
def test_reload(jobd):
    d = jobd()
    d.write_config({"defaults": {"priority": 2}})
    assert d.jobctl("reload", "--json").json == {"changed": ["defaults.priority"], "restart": []}
    assert d.jobctl("reload").code == 0
    d.write_config({"defaults": {"priority": 20}})
    bad = d.jobctl("reload")
    assert bad.code == 7
    assert "defaults.priority" in bad.err


@covers("jobctl:drain", "option:drain --timeout", "option:drain --off", "option:drain --json",
        "exit:jobctl 124")  # fmt: skip
def test_drain(jobd):
    d = jobd()
    gate = d.gate()
    id = d.submit(command=gate.command)
    d.until_status(id, "running")
    timed = d.jobctl("drain", "--timeout", "0.1", "--json")
    assert timed.json == {"running": 1}
    assert timed.code == 124
    assert d.jobctl("drain", "--off").code == 0
    gate.open()
    d.final(id)
    assert d.jobctl("drain", "--json").json == {"running": 0}
    waits = d.submit(command=TRUE)
    assert d.status(waits)["status"] == "pending"


@covers("jobctl:shutdown", "option:shutdown --now", "option:shutdown --json", "exit:jobctl 3")
@pytest.mark.parametrize("options", [["--json"], ["--now"]])
def test_shutdown(jobd, options):
    d = jobd({"daemon": {"shutdown_grace": 3600 if options == ["--now"] else 0}})
    gate = d.gate()
    id = d.submit(command=gate.command)
    d.until_status(id, "running")
    ran = d.jobctl("shutdown", *options)
    assert ran.code == 0
    if options == ["--json"]:
        assert ran.json == {}
    assert d.ended() == 0
    gone = d.jobctl("ping")
    assert (gone.code, gone.out) == (3, "")
    assert str(d.socket) in gone.err
    assert "jobd run" in gone.err


def test_alone_it_shows_what_runs_waits_and_failed_last(jobd):
    d = jobd()
    gate = d.gate()
    running = d.submit(command=gate.command, label="the running one")
    d.until_status(running, "running")
    d.submit(command=TRUE, delay=3600, label="the waiting one")
    d.run(target="jobs:boom", label="the failed one")
    ran = d.jobctl()
    assert ran.code == 0
    for text in ("the running one", "the waiting one", "the failed one"):
        assert text in ran.out
    assert d.jobctl("--json").json
    gate.open()


@covers("option:submit --socket", "option:ping --socket", "exit:jobctl 3")
def test_the_socket_is_the_options_else_the_variables_else_the_users(shared):
    socket = str(shared.socket)
    none = {"JOBD_SOCKET": None}
    assert shared.jobctl("--socket", socket, "ping", env=none).code == 0
    assert shared.jobctl("ping", "--socket", socket, env={"JOBD_SOCKET": "/nowhere"}).code == 0
    submitted = shared.jobctl("submit", "--socket", socket, "--", "/bin/true", env=none)
    assert submitted.code == 0
    elsewhere = shared.jobctl("ping", "--socket", "/nowhere/s")
    assert elsewhere.code == 3
    assert "/nowhere/s" in elsewhere.err
    runtime = shared.scratch("runtime")
    (runtime / "jobd").mkdir(parents=True)
    (runtime / "jobd" / "jobd.sock").symlink_to(socket)
    assert shared.jobctl("ping", env={**none, "XDG_RUNTIME_DIR": str(runtime)}).code == 0
    state = {**none, "XDG_RUNTIME_DIR": None, "XDG_STATE_HOME": str(runtime)}
    assert shared.jobctl("ping", env=state).code == 0


SOCKET_AND_JSON = [
    ("status", "x"), ("list",), ("cancel", "x"), ("retry", "x"), ("wait", "x"), ("remove", "x"),
    ("logs", "x"), ("stats",), ("events",), ("ping",), ("reload",), ("drain",), ("shutdown",),
    ("submit", "a:b"), ("allow", "a:b"), ("disallow", "a:b"),
]  # fmt: skip


@covers(
    "option:status --socket", "option:list --socket", "option:cancel --socket",
    "option:retry --socket", "option:wait --socket", "option:remove --socket",
    "option:logs --socket", "option:stats --socket", "option:events --socket",
    "option:reload --socket", "option:drain --socket", "option:shutdown --socket",
    "option:allow --socket", "option:disallow --socket",
)  # fmt: skip
@pytest.mark.parametrize("words", SOCKET_AND_JSON, ids=lambda words: words[0])
def test_without_a_daemon_each_command_is_3_and_names_the_socket(shared, words):
    ran = shared.jobctl(*words, "--socket", "/nowhere/at/all.sock", "--json")
    assert (ran.code, ran.out) == (3, "")
    assert "/nowhere/at/all.sock" in ran.err


@covers("exit:jobctl 2")
def test_wrong_usage_of_any_command_is_2(shared):
    for words in (
        ["nonsense"], ["status"], ["wait"], ["logs"], ["logs", "abcd", "--tail", "x"],
        ["list", "--limit", "x"], ["wait", "abcd", "--timeout", "soon"], ["ping", "extra"],
        ["--nonsense"], ["allow"], ["cancel", "--force"],
    ):  # fmt: skip
        ran = shared.jobctl(*words)
        assert (ran.code, ran.out) == (2, ""), words
        assert ran.err


def test_colour_is_for_terminals(shared):
    shared.run(command=["/bin/false"])
    for words in (["list"], ["stats"], []):
        assert "\x1b" not in shared.jobctl(*words).out


@covers("option:submit --json")
def test_json_goes_to_stdout_and_messages_to_stderr(shared):
    request = f"messages {time.time_ns()}"
    words = ("submit", "--json", "--request-id", request, "--", "/bin/true")
    shared.jobctl(*words)
    again = shared.jobctl(*words)
    assert again.json["duplicate"] is True
    assert until(lambda: shared.status(again.json["id"]))
