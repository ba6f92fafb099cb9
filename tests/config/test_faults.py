"""What jobd.toml must not say, and how it is told."""

from __future__ import annotations

import pytest

from jobd.config import load
from jobd.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        # wrong types: strict
        ("[daemon]\nmax_running = true", "daemon.max_running", "must be an integer"),
        ('[daemon]\nmax_running = "5"', "daemon.max_running", "must be an integer"),
        ("[daemon]\nmax_running = 1.0", "daemon.max_running", "must be an integer"),
        ("[daemon]\nmax_running = 0", "daemon.max_running", "at least 1"),
        ("[daemon]\nmax_running = 99999999999999999999", "daemon.max_running", "at most"),
        ("[daemon]\nmax_pending = 0", "daemon.max_pending", "at least 1"),
        ("[daemon]\nmax_interruptions = -1", "daemon.max_interruptions", "at least 0"),
        ("[daemon]\nmax_request_bytes = 1", "daemon.max_request_bytes", "at least 4096"),
        ('[daemon]\nmax_request_bytes = "8 miles"', "daemon.max_request_bytes", "64MiB"),
        ('[daemon]\nsocket = "jobd.sock"', "daemon.socket", "absolute"),
        ('[daemon]\nstate_dir = ""', "daemon.state_dir", "not empty"),
        ('[daemon]\nlog_dir = "/a\\u0000"', "daemon.log_dir", "NUL"),
        ("[daemon]\nlog_dir = 5", "daemon.log_dir", "must be a string"),
        ('[daemon]\non_stop = "kill"', "daemon.on_stop", "'leave' or 'stop'"),
        ("[daemon]\nstray_children = false", "daemon.stray_children", "'kill' or 'leave'"),
        ('[daemon]\nshutdown_grace = "soon"', "daemon.shutdown_grace", "1.5m"),
        ('[journal]\nfsync = "sometimes"', "journal.fsync", "'always' or 'interval' or 'never'"),
        ("[journal]\ninterval = 0", "journal.interval", "more than 0"),
        ("[journal]\nsegment_bytes = 5", "journal.segment_bytes", "at least 65536"),
        ("[retention]\ncompleted = -1", "retention.completed", "at least 0"),
        ('[retention]\nfailed = "200000d"', "retention.failed", "100 years"),
        ("[retention]\ncancelled = nan", "retention.cancelled", "at least 0"),
        ("[retention]\ncancelled = inf", "retention.cancelled", "100 years"),
        ("[retention]\nmax_jobs = -1", "retention.max_jobs", "at least 0"),
        ('[python]\nexecutable = "python3"', "python.executable", "absolute"),
        ('[python]\npath = ["/ok", "lib"]', "python.path", "item 2"),
        ('[python]\npath = "/ok"', "python.path", "array"),
        ('[python]\ncwd = "x"', "python.cwd", "absolute"),
        ("[python]\nenv = { A = 1 }", "python.env", "'A'"),
        ('[python]\nenv = { "A=B" = "x" }', "python.env", "name"),
        ('[env]\npass = ["A=B"]', "env.pass", "item 1"),
        ('[env]\npass = ["LC_*"]', "env.pass", "wildcards"),
        ('[env]\npass = ["JOBD_X"]', "env.pass", "jobd itself"),
        ('[env]\npass = "HOME"', "env.pass", "array of names"),
        ('[env.set]\nPATH = "/bin:."', "env.set", "absolute directories"),
        ('[env.set]\nPATH = ""', "env.set", "absolute directories"),
        ('[env.set]\nA = "x\\u0000"', "env.set", "NUL"),
        ('[env.set]\nJOBD_SOCKET = "x"', "env.set", "jobd itself"),
        ('[env]\nset = ["A"]', "env.set", "must be a table"),
        ('[python]\nstart = "spoon"', "python.start", "'exec' or 'fork'"),
        ('[python]\npreload = "app"', "python.preload", "array of module names"),
        ('[python]\npreload = ["app", "app:f"]', "python.preload", "item 2: 'app:f' is no module"),
        ('[python]\npreload = ["app.class"]', "python.preload", "no module's name"),
        ("[python]\npreload = [1]", "python.preload", "no module's name"),
        ('[python]\nstart = "exec"\npreload = ["app"]', "python.preload", 'needs start = "fork"'),
        ('[python]\npreload = ["app"]\nstart = "exec"', "python.preload", 'needs start = "fork"'),
        ("[output]\nmax_bytes = 65535", "output.max_bytes", "at least 65536"),
        ('[output]\nmax_bytes = "1 mile"', "output.max_bytes", "64MiB"),
        ("[output]\ntotal_max_bytes = 0", "output.total_max_bytes", "at least 1"),
        ('[logging]\nlevel = "loud"', "logging.level", "'debug'"),
        ('[logging]\nformat = "xml"', "logging.format", "'text' or 'json'"),
        ('[logging]\nrotate = "weekly"', "logging.rotate", '"daily" or a size'),
        ("[logging]\nrotate = true", "logging.rotate", '"daily" or a size'),
        ("[logging]\nkeep = -1", "logging.keep", "at least 0"),
        ("[logging]\nmax_bytes = 10", "logging.max_bytes", "at least 4096"),
        ("[logging]\nparams = 1", "logging.params", "true or false"),
        ("[defaults]\npriority = 11", "defaults.priority", "at most 10"),
        ("[defaults]\npriority = 0", "defaults.priority", "at least 1"),
        ("[defaults]\npriority = true", "defaults.priority", "1 to 10"),
        ("[defaults]\nretry_attempts = 1001", "defaults.retry_attempts", "at most 1000"),
        ("[defaults]\ntimeout = 0", "defaults.timeout", "more than 0"),
        ("[defaults]\nretry_jitter = 2", "defaults.retry_jitter", "at most 1"),
        ('[defaults]\nretry_jitter = "1"', "defaults.retry_jitter", "must be a number"),
        ("[defaults]\nretry_jitter = nan", "defaults.retry_jitter", "must be a number"),
        ('[defaults]\nbackoff = "slow"', "defaults.backoff", "exponential"),
        ("[defaults]\nbackoff = []", "defaults.backoff", "at least one"),
        ('[defaults]\nbackoff = [1, "x"]', "defaults.backoff", "item 2"),
        ("[defaults]\nbackoff = 5", "defaults.backoff", "array of waits"),
        ('[defaults]\nstop_signal = "TERM"', "defaults.stop_signal", "SIGTERM"),
        ('[defaults]\non_interrupt = "x"', "defaults.on_interrupt", "retry, fail"),
        ('[defaults]\ncwd = "here"', "defaults.cwd", "absolute"),
        ("[defaults]\nidle_timeout = 0", "defaults.idle_timeout", "more than 0"),
        ("[defaults]\nsuccess_codes = 3", "defaults.success_codes", "array of exit codes"),
        ("[defaults]\nsuccess_codes = []", "defaults.success_codes", "must not be empty"),
        ("[defaults]\nsuccess_codes = [true]", "defaults.success_codes", "array of exit codes"),
        ('[defaults]\nno_retry_on = "x"', "defaults.no_retry_on", "names of signals"),
        ("[defaults]\nno_retry_on = [-1]", "defaults.no_retry_on", "names of signals"),
        ('[defaults]\nno_retry_on = ["SIGNONE"]', "defaults.no_retry_on", "no signal SIGNONE"),
        ('[defaults]\nno_retry_on = [3, "Fatal"]', "defaults.no_retry_on", "item 2: Fatal"),
        ('[defaults]\nno_retry_on = ["a b"]', "defaults.no_retry_on", "is no name"),
        ("[defaults]\nlimits = {}", "defaults.limits", "see [limits.default]"),
        ('[limits.default]\nmemory = "lots"', "limits.default.memory", "64MiB"),
        ("[limits.default]\nmemory = 1", "limits.default.memory", "at least 1.04858e+06"),
        ("[limits.default]\nmemory = 1.5", "limits.default.memory", "must be bytes"),
        ("[limits.default]\ncpu_time = 0", "limits.default.cpu_time", "more than 0"),
        ("[limits.default]\nprocesses = 0", "limits.default.processes", "at least 1"),
        ("[limits.default]\nprocesses = true", "limits.default.processes", "an integer"),
        ("[limits.default]\nopen_files = 1", "limits.default.open_files", "at least 16"),
        ("[limits.default]\nnice = 20", "limits.default.nice", "at most 19"),
        ("[limits.max]\nnice = -21", "limits.max.nice", "at least -20"),
        ("[limits.max]\npriority = 11", "limits.max.priority", "at most 10"),
        ("[limits.max]\ntimeout = 0", "limits.max.timeout", "more than 0"),
        ("[limits.max]\nkill_grace = -1", "limits.max.kill_grace", "at least 0"),
        ("[queues.mail.limits]\nprocesses = 0", "queues.mail.limits.processes", "at least 1"),
        ('[defaults]\nqueue = "a b"', "defaults.queue", "must match"),
        ('[queues."a b"]\npriority = 1', 'queues."a b"', "must match"),
        ("[queues.mail]\nmax_running = 0", "queues.mail.max_running", "at least 1"),
        ("[queues.mail]\npriority = 0", "queues.mail.priority", "at least 1"),
        ('[allow]\ncommands = ["rsync"]', "allow.commands", "absolute"),
        ('[allow]\ncommands = "*"', "allow.commands", "array"),
        ('[allow]\nenv = ["A*"]', "allow.env", "wildcards"),
        ('[allow.callables]\n"app:X" = "handle"', "allow.callables", "array of method names"),
        ('[allow.callables]\n"app:X" = [1]', "allow.callables", "array of method names"),
        ('[allow.callables]\n"app:X.y" = []', "allow.callables", "module:Name"),
        ('[allow.callables]\n"a:X" = []\n"a.X" = []', "allow.callables", "twice"),
        ('[allow]\ncallables = ["app:X"]', "allow.callables", "table"),
        # tables that are none
        ("daemon = 3", "daemon", "must be a table"),
        ("queues = 3", "queues", "must be a table"),
        ("[queues]\nmail = 3", "queues.mail", "must be a table"),
        ("defaults = []", "defaults", "must be a table"),
        ("logging = true", "logging", "must be a table"),
        ("limits = 3", "limits", "must be a table"),
        ("[limits]\nmax = 3", "limits.max", "must be a table"),
        ("[queues.mail]\nlimits = 3", "queues.mail.limits", "must be a table"),
        # unknown keys: the nearest known one, and all that there are
        ("[daemon]\nmax_pendin = 5", "daemon.max_pendin", "did you mean max_pending?"),
        ("[queues.mail]\nprioritty = 5", "queues.mail.prioritty", "did you mean priority?"),
        ('[queues.mail]\nqueue = "x"', "queues.mail.queue", "there are max_running"),
        ('[defaults]\nlabel = "x"', "defaults.label", "there are queue, priority"),
        ("[env]\npassed = []", "env.passed", "did you mean pass?"),
        ("[limits]\nmemory = 5", "limits.memory", "there are default, max"),
        ("[limits.default]\nmemry = 5", "limits.default.memry", "did you mean memory?"),
        ("[limits.default]\ntimeout = 5", "limits.default.timeout", "there are memory"),
        ("[limits.max]\ntime_out = 5", "limits.max.time_out", "did you mean timeout?"),
        ("[queues.mail.limits]\nnices = 5", "queues.mail.limits.nices", "did you mean nice?"),
        ("[deamon]\n", "deamon", "did you mean daemon?"),
        ("max_running = 5", "max_running", "no such table"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_what_is_allowed(
    faults, text: str, key: str, says: str
) -> None:
    found = faults(text)
    assert list(found) == [key]
    assert says in found[key]


LATER_TABLES = ("schedules", "access", "dashboard", "metrics")
LATER_KEYS = (
    *[("daemon", key) for key in ("group", "strict_queues", "aging")],
    ("queues.mail", "rate"),
    *[(table, key) for table in ("defaults", "queues.mail")
      for key in ("expires", "key", "if_exists", "after", "weight")],
)  # fmt: skip


@pytest.mark.parametrize("table", LATER_TABLES)
def test_a_table_that_comes_later_is_refused_as_such(faults, table: str) -> None:
    assert "later release" in faults(f"[{table}]\nx = 1")[table]


def test_alerts_come_later(faults) -> None:
    assert "later release" in faults('[[on]]\nevent = "failed"')["on"]


@pytest.mark.parametrize(("table", "key"), LATER_KEYS)
def test_a_key_that_comes_later_is_refused_as_such(faults, table: str, key: str) -> None:
    assert "later release" in faults(f"[{table}]\n{key} = 1")[f"{table}.{key}"]


CEILINGS = """
[limits.max]
memory = "1GiB"
cpu_time = 60
processes = 10
open_files = 100
nice = 5
timeout = "1h"
kill_grace = 20
priority = 5
"""


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("[defaults]\ntimeout = 3601", "defaults.timeout", "at most 3600 s"),
        ("[defaults]\nkill_grace = 21", "defaults.kill_grace", "at most 20 s"),
        ("[defaults]\npriority = 6", "defaults.priority", "at most 5"),
        ("[queues.mail]\npriority = 6", "queues.mail.priority", "at most 5"),
        ("[queues.mail]\ntimeout = 3601", "queues.mail.timeout", "at most 3600 s"),
        ('[queues."a.b".limits]\nnice = 4', 'queues."a.b".limits.nice', "at least 5"),
        ('[limits.default]\nmemory = "2GiB"', "limits.default.memory", "at most 1073741824 bytes"),
        ("[limits.default]\ncpu_time = 61", "limits.default.cpu_time", "at most 60 s"),
        ("[limits.default]\nprocesses = 11", "limits.default.processes", "at most 10"),
        ("[limits.default]\nopen_files = 101", "limits.default.open_files", "at most 100"),
        ("[limits.default]\nnice = 4", "limits.default.nice", "at least 5"),
    ],
)
def test_a_value_beyond_its_ceiling_is_told_with_the_most_that_is_allowed(
    faults, text: str, key: str, says: str
) -> None:
    found = faults(CEILINGS + text)
    assert list(found) == [key]
    assert says in found[key]
    assert "[limits.max]" in found[key]


def test_a_value_at_its_ceiling_is_none_beyond_it(config) -> None:
    config(CEILINGS + "[limits.default]\nnice = 5\nprocesses = 10\n[defaults]\ntimeout = 3600")


def test_all_faults_are_told_at_once(faults) -> None:
    found = faults("[daemon]\nmax_running = 0\ngroup = 1\n[loging]\n[queues.a]\npriority = 99")
    assert set(found) == {"daemon.max_running", "daemon.group", "loging", "queues.a.priority"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[daemon", "is no TOML"),
        (b"a = 1\na = 2", "is no TOML"),
        (b"x = " + b"9" * 5000, "is no TOML"),
        (b"x = " + b"[" * 200_000, "is no TOML"),
        (b"x = '\xff'", "not UTF-8 at byte 5"),
        (b"#" * 5_000_000, "is larger than"),
    ],
    ids=["half", "twice", "digits", "brackets", "latin", "large"],
)
def test_a_file_that_is_no_config_is_told_by_its_name(tmp_path, content: bytes, says: str) -> None:
    path = tmp_path / "jobd.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_file_that_can_not_be_read_is_told_by_its_name(tmp_path) -> None:
    for path in (tmp_path, tmp_path / "absent.toml"):
        with pytest.raises(ConfigError, match="can't be read"):
            load(path)


def test_what_the_command_line_says_is_checked_too(home) -> None:
    with pytest.raises(ConfigError, match=r"^the command line: logging.level: must be"):
        load(environ=home, log_level="loud")


def test_a_table_that_is_none_is_told_even_when_the_command_line_adds_to_it(config) -> None:
    with pytest.raises(ConfigError, match="daemon: must be a table"):
        config("daemon = 3", state_dir="/x")
