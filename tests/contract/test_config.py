"""jobd.toml: what each key does, and how a wrong one is told."""

from __future__ import annotations

import tomllib

import pytest
import tomlkit
from outside.waiting import until

covers = pytest.mark.covers

FAULTS = [
    ("daemon", "socket", 5, "relative/path"),
    ("daemon", "state_dir", "", "relative"),
    ("daemon", "log_dir", True, "relative"),
    ("daemon", "max_running", 0, "2"),
    ("daemon", "max_pending", 0, 1.5),
    ("daemon", "max_request_bytes", "lots", -1),
    ("daemon", "max_interruptions", -1, True),
    ("daemon", "shutdown_grace", -1, "soon"),
    ("daemon", "on_stop", "go", 1),
    ("daemon", "stray_children", "eat", True),
    ("journal", "fsync", "sometimes", True),
    ("journal", "interval", 0, "x"),
    ("journal", "segment_bytes", 0, "huge"),
    ("defaults", "priority", 0, "high"),
    ("retention", "completed", -1, "long"),
    ("retention", "failed", -1, True),
    ("retention", "cancelled", "x", -1),
    ("retention", "max_jobs", -1, "many"),
    ("python", "executable", "python3", 3),
    ("python", "path", "/one", ["relative"]),
    ("python", "cwd", "relative", 1),
    ("python", "env", {"A": 1}, ["A"]),
    ("python", "start", "spoon", True),
    ("python", "preload", ["app:f"], "app"),
    ("env", "pass", "HOME", [1]),
    ("env", "set", {"A=B": "x"}, {"A": 1}),
    ("output", "max_bytes", "lots", 65535),
    ("output", "total_max_bytes", "lots", -1),
    ("limits.default", "memory", "lots", 1),
    ("limits.default", "cpu_time", 0, "soon"),
    ("limits.max", "processes", 0, "few"),
    ("limits.max", "nice", -21, 0.5),
    ("limits.max", "timeout", 0, "never"),
    ("limits.max", "priority", 11, "high"),
    ("queues.mail.limits", "open_files", 1, "many"),
    ("logging", "level", "loud", 1),
    ("logging", "format", "xml", 1),
    ("logging", "rotate", "weekly", True),
    ("logging", "keep", -1, "x"),
    ("logging", "max_bytes", "x", True),
    ("logging", "params", "yes", 1),
    ("allow", "commands", "/bin/true", ["bin/true"]),
    ("allow", "env", "A", [1]),
    ("allow", "callables", {"nonsense": []}, {"a:b": "handle"}),
]


def test_every_wrong_value_is_named_with_file_key_and_what_is_allowed(installation):
    """All of them at once, twice."""
    d = installation()
    for column in (2, 3):
        whole: dict = {}
        for fault in FAULTS:
            table = whole
            for name in fault[0].split("."):
                table = table.setdefault(name, {})
            table[fault[1]] = fault[column]
        d.config_path.write_text(tomlkit.dumps(whole))
        ran = d.jobd("check", "--config", str(d.config_path))
        assert (ran.code, ran.out) == (100, "")
        assert str(d.config_path) in ran.err
        for table, key, *_ in FAULTS:
            assert f"{table}.{key}" in ran.err, (table, key, whole[table][key])


LATER = [
    pytest.param("daemon", "group", "jobs", marks=covers("config:daemon.group")),
    pytest.param("daemon", "strict_queues", True, marks=covers("config:daemon.strict_queues")),
    pytest.param("daemon", "aging", "5m", marks=covers("config:daemon.aging")),
    pytest.param("queues.mail", "rate", "5/s", marks=covers("config:queues.rate")),
    pytest.param("queues.mail", "weight", 1, marks=covers("config:queues.weight")),
    pytest.param("defaults", "expires", 5, marks=covers("config:defaults.expires")),
    pytest.param("schedules.night", "every", 60, marks=covers("config:schedules")),
    pytest.param("access", "admins", ["root"], marks=covers("config:access")),
    pytest.param("dashboard", "port", 1, marks=covers("config:dashboard")),
    pytest.param("metrics", "port", 1, marks=covers("config:metrics")),
]


@pytest.mark.parametrize(("table", "key", "value"), LATER)
def test_a_key_that_comes_later_is_refused_and_says_so(installation, table, key, value):
    d = installation()
    tables: dict = {key: value}
    for part in reversed(table.split(".")):
        tables = {part: tables}
    d.write_config(tables)
    ran = d.jobd("check", "--config", str(d.config_path))
    assert ran.code == 100
    assert table.split(".", maxsplit=1)[0] in ran.err
    assert "later" in ran.err


@covers("config:on")
def test_alerts_come_later(installation):
    d = installation()
    with d.config_path.open("a") as file:
        file.write('\n[[on]]\nstatus = "failed"\n')
    ran = d.jobd("check", "--config", str(d.config_path))
    assert ran.code == 100
    assert "later" in ran.err


POLICY = [
    pytest.param("priority", 4, marks=covers("config:defaults.priority", "config:queues.priority")),
    pytest.param("retry_attempts", 2, marks=covers("config:defaults.retry_attempts",
                                                   "config:queues.retry_attempts")),
    pytest.param("retry_delay", 7.0, marks=covers("config:defaults.retry_delay",
                                                  "config:queues.retry_delay")),
    pytest.param("backoff", "linear", marks=covers("config:defaults.backoff",
                                                   "config:queues.backoff")),
    pytest.param("retry_max_delay", 70.0, marks=covers("config:defaults.retry_max_delay",
                                                       "config:queues.retry_max_delay")),
    pytest.param("retry_jitter", 0.25, marks=covers("config:defaults.retry_jitter",
                                                    "config:queues.retry_jitter")),
    pytest.param("timeout", 600.0, marks=covers("config:defaults.timeout",
                                                "config:queues.timeout")),
    pytest.param("kill_grace", 3.0, marks=covers("config:defaults.kill_grace",
                                                 "config:queues.kill_grace")),
    pytest.param("stop_signal", "SIGINT", marks=covers("config:defaults.stop_signal",
                                                       "config:queues.stop_signal")),
    pytest.param("on_interrupt", "fail", marks=covers("config:defaults.on_interrupt",
                                                      "config:queues.on_interrupt")),
    pytest.param("cwd", "/tmp", marks=covers("config:defaults.cwd", "config:queues.cwd")),
    pytest.param("idle_timeout", 70.0, marks=covers("config:defaults.idle_timeout",
                                                    "config:queues.idle_timeout")),
    pytest.param("success_codes", [0, 3], marks=covers("config:defaults.success_codes",
                                                       "config:queues.success_codes")),
    pytest.param("no_retry_on", [3, "SIGSEGV"], marks=covers("config:defaults.no_retry_on",
                                                             "config:queues.no_retry_on")),
]  # fmt: skip


@pytest.fixture(scope="module")
def policies():
    """Every policy key in [defaults], and another value of each in a queue."""
    from outside.installation import Installation
    from outside.jobs import JOBS

    values = {param.values[0]: param.values[1] for param in POLICY}
    other = {
        "priority": 9, "retry_attempts": 5, "retry_delay": "1m", "backoff": [1, "2m"],
        "retry_max_delay": "2h", "retry_jitter": 1, "timeout": "1d", "kill_grace": "0.5s",
        "stop_signal": "SIGHUP", "on_interrupt": "retry", "cwd": "/", "idle_timeout": "2m",
        "success_codes": [0], "no_retry_on": ["app.errors:Fatal"],
    }  # fmt: skip
    resolved = {
        **other, "retry_delay": 60, "backoff": [1, 120], "retry_max_delay": 7200, "timeout": 86400,
        "kill_grace": 0.5, "idle_timeout": 120,
    }  # fmt: skip
    d = Installation({"defaults": values, "queues": {"other": other}})
    d.module(JOBS)
    yield d.start(), resolved
    d.close()


@pytest.mark.parametrize(("key", "value"), POLICY)
def test_policy_is_the_submissions_else_the_queues_else_the_defaults(policies, key, value):
    d, of_queue = policies
    by_default = d.run(command=["/bin/true"])
    assert by_default[key] == value
    by_queue = d.run(command=["/bin/true"], queue="other")
    assert by_queue[key] == of_queue[key]
    assert d.run(command=["/bin/true"], queue="other", **{key: value})[key] == value


@covers("config:defaults.queue")
def test_the_default_queue_may_be_another(jobd):
    d = jobd({"defaults": {"queue": "main"}, "queues": {"main": {"priority": 6}}})
    done = d.run(command=["/bin/true"])
    assert (done["queue"], done["priority"]) == ("main", 6)


@covers("config:daemon.socket", "config:daemon.state_dir", "config:daemon.log_dir")
def test_everything_is_where_the_config_says(shared):
    shared.run(command=["/bin/true"])
    assert shared.socket.is_socket()
    assert list((shared.state_dir / "journal").iterdir())
    assert (shared.log_dir / "background_jobs.log").is_file()
    assert not list(shared.state_dir.glob("*.log"))[1:], "at most the keeper's own"


@covers("config:daemon.max_request_bytes", "error:-32600")
def test_a_line_beyond_max_request_bytes_is_refused_and_the_connection_closed(jobd):
    d = jobd({"daemon": {"max_request_bytes": 4096}})
    with d.peer() as peer:
        fits = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
        assert peer.exchange(fits + b" " * (4000 - len(fits)))["result"]["name"] == "jobd"
        answer = peer.exchange(fits + b" " * 8192)
        assert (answer["id"], answer["error"]["code"]) == (None, -32600)
        assert peer.closed()
    assert d.run(command=["/bin/true"])["status"] == "completed"


@covers("config:journal.fsync", "config:journal.interval", "config:journal.segment_bytes")
@pytest.mark.parametrize("fsync", ["always", "interval", "never"])
def test_the_journal_is_kept_in_segments_under_every_fsync(jobd, fsync):
    d = jobd({"journal": {"fsync": fsync, "interval": "10s", "segment_bytes": "64KiB"}})
    jobs = [{"command": ["/bin/true", "x" * 2000], "delay": 3600} for _ in range(20)]
    for _ in range(10):
        d.call("submit_many", jobs=jobs)
    first = d.call("list", limit=1)["jobs"][0]
    segments = sorted((d.state_dir / "journal").iterdir())
    assert len(segments) >= 3
    d.kill()
    d.start()
    assert d.call("stats")["jobs"]["pending"] == 200
    assert d.status(first["id"])["command"][1] == "x" * 2000


@covers("config:retention.max_jobs", "config:retention.completed")
def test_max_jobs_counts_only_what_ended_10_minutes_ago(jobd):
    d = jobd({"retention": {"max_jobs": 1}})
    ids = [d.run(command=["/bin/true"])["id"] for _ in range(3)]
    assert {job["id"] for job in d.call("list")["jobs"]} == set(ids)


@covers("config:allow.callables", "config:allow.commands")
def test_the_reference_is_a_config_that_holds(installation):
    from pathlib import Path

    d = installation()
    reference = Path(__file__).parents[2] / "jobd.toml"
    ran = d.jobd("check", "--config", str(reference))
    assert ran.code == 0, ran
    shown = tomllib.loads(ran.out)
    assert shown["daemon"]["max_request_bytes"] == 8 << 20
    assert shown["retention"]["completed"] == 7 * 86400
    assert shown["logging"] == {
        "level": "info", "format": "text", "rotate": "daily", "keep": 14, "max_bytes": 64 << 20,
        "params": True,
    }  # fmt: skip


def test_an_unknown_key_or_table_is_an_error_that_names_the_nearest(installation):
    d = installation({"daemon": {"max_runing": 1}, "loging": {}})
    ran = d.jobd("check", "--config", str(d.config_path))
    assert ran.code == 100
    assert "daemon.max_runing" in ran.err
    assert "max_running" in ran.err
    assert "loging" in ran.err


@pytest.mark.parametrize("text", ["[daemon", "a = 1\na = 2\n", "\0", "\xff"])
def test_what_is_no_toml_is_one_line_that_says_so(installation, text):
    d = installation()
    d.config_path.write_bytes(text.encode("latin-1"))
    ran = d.jobd("run", "--config", str(d.config_path))
    assert ran.code == 100
    assert len(ran.err.splitlines()) == 1
    assert str(d.config_path) in ran.err


def test_the_age_of_ended_jobs_is_bounded_by_retention_across_restarts(jobd):
    """Nothing goes early; that something goes at all takes 10 minutes, and is the engine's tests'
    business."""
    d = jobd({"retention": {"completed": 0}})
    id = d.run(command=["/bin/true"])["id"]
    d.kill()
    d.start()
    until(lambda: d.status(id)["status"] == "completed")
