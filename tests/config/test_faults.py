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
        # unknown keys: the nearest known one, and all that there are
        ("[daemon]\nmax_pendin = 5", "daemon.max_pendin", "did you mean max_pending?"),
        ("[queues.mail]\nprioritty = 5", "queues.mail.prioritty", "did you mean priority?"),
        ('[queues.mail]\nqueue = "x"', "queues.mail.queue", "there are max_running"),
        ('[defaults]\nlabel = "x"', "defaults.label", "there are queue, priority"),
        ("[env]\npassed = []", "env.passed", "did you mean pass?"),
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


LATER_TABLES = ("limits", "schedules", "access", "dashboard", "metrics")
LATER_KEYS = (
    *[("daemon", key) for key in ("group", "strict_queues", "aging")],
    ("python", "preload"), ("output", "max_bytes"), ("queues.mail", "rate"),
    *[(table, key) for table in ("defaults", "queues.mail")
      for key in ("idle_timeout", "expires", "success_codes", "no_retry_on", "key", "if_exists",
                  "after", "weight", "limits")],
)  # fmt: skip


@pytest.mark.parametrize("table", LATER_TABLES)
def test_a_table_that_comes_later_is_refused_as_such(faults, table: str) -> None:
    assert "later release" in faults(f"[{table}]\nx = 1")[table]


def test_alerts_come_later(faults) -> None:
    assert "later release" in faults('[[on]]\nevent = "failed"')["on"]


@pytest.mark.parametrize(("table", "key"), LATER_KEYS)
def test_a_key_that_comes_later_is_refused_as_such(faults, table: str, key: str) -> None:
    assert "later release" in faults(f"[{table}]\n{key} = 1")[f"{table}.{key}"]


def test_a_warm_interpreter_comes_later(faults, config) -> None:
    assert "later release" in faults('[python]\nstart = "fork"')["python.start"]
    assert config('[python]\nstart = "exec"').python.start == "exec"


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
