"""What a config that is right comes to mean."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from jobd.config import Config, changes, load, reloaded
from jobd.core.job import Policy
from jobd.core.rules import DAY_S


def test_without_a_file_the_defaults_hold_and_nothing_is_allowed(home) -> None:
    config = load(environ=home)
    assert config.path is None
    assert config.daemon.max_pending == 1_000_000
    assert config.daemon.max_request_bytes == 8 * 1024 * 1024
    assert config.daemon.max_running == len(os.sched_getaffinity(0))
    assert config.journal.fsync == "always"
    assert config.logging.rotate == "daily"
    assert config.python.executable == Path(sys.executable)
    assert not config.allow.patterns
    assert not config.allow.commands


def test_the_config_is_found_as_told_then_by_the_environment_then_in_its_place(
    tmp_path, home
) -> None:
    told, by_env = tmp_path / "told.toml", tmp_path / "env.toml"
    users = tmp_path / "home/.config/jobd/jobd.toml"
    users.parent.mkdir(parents=True)
    for path in (told, by_env, users):
        path.touch()
    with_env = {**home, "JOBD_CONFIG": str(by_env)}
    assert load(told, environ=with_env).path == str(told)
    assert load(environ=with_env).path == str(by_env)
    assert load(environ=home).path == str(users)


def test_the_current_directory_is_never_looked_at(tmp_path, home, monkeypatch) -> None:
    (tmp_path / "jobd.toml").write_text("this = 'would be an error'")
    monkeypatch.chdir(tmp_path)
    assert load(environ=home).path is None


def test_a_relative_path_is_told_as_an_absolute_one(tmp_path, home, monkeypatch) -> None:
    (tmp_path / "my.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert load("my.toml", environ=home).path == str(tmp_path / "my.toml")


def test_places_are_those_of_the_user(tmp_path, home) -> None:
    daemon = load(environ={**home, "XDG_RUNTIME_DIR": "/run/user/1000"}).daemon
    assert daemon.socket == Path("/run/user/1000/jobd/jobd.sock")
    assert daemon.state_dir == daemon.log_dir == tmp_path / "home/.local/state/jobd"


def test_logs_follow_a_state_directory_that_was_moved(config) -> None:
    assert config("", state_dir="/srv/a").daemon.log_dir == Path("/srv/a")
    assert config('[daemon]\nstate_dir = "/srv/b"').daemon.log_dir == Path("/srv/b")
    both = config('[daemon]\nstate_dir = "/srv/b"\nlog_dir = "/srv/logs"', state_dir="/srv/a")
    assert (both.daemon.state_dir, both.daemon.log_dir) == (Path("/srv/a"), Path("/srv/logs"))


def test_the_command_line_goes_before_the_file(config) -> None:
    text = '[daemon]\nsocket = "/a"\n[logging]\nlevel = "error"'
    told = config(text, socket="/b", log_level="debug")
    assert (told.daemon.socket, told.logging.level) == (Path("/b"), "debug")


def test_durations_and_sizes_are_numbers_or_text(config) -> None:
    made = config(
        '[daemon]\nmax_request_bytes = "64KiB"\nshutdown_grace = "1.5m"\n'
        '[journal]\nsegment_bytes = 65536\ninterval = 0.25\n'
        '[logging]\nrotate = "1MiB"\n[retention]\ncompleted = "2h"\nfailed = 0\n'
        '[defaults]\ntimeout = "1h"\nbackoff = [1, "1m"]\n'
    )  # fmt: skip
    assert made.daemon.max_request_bytes == 65536
    assert made.daemon.shutdown_grace == 90.0
    assert made.journal.interval == 0.25
    assert made.logging.rotate == 1024 * 1024
    assert (made.retention.completed, made.retention.failed) == (7200.0, 0.0)
    policy = made.policy({}, is_command=False)
    assert (policy.timeout, policy.backoff) == (3600.0, (1.0, 60.0))


def test_a_home_may_be_written_as_one(config) -> None:
    made = config('[daemon]\nlog_dir = "~/logs"\n[python]\npath = ["~/lib"]')
    assert made.daemon.log_dir == Path.home() / "logs"
    assert made.python.path == (Path.home() / "lib",)


def test_who_stops_what_runs_waits_for_it_first(config) -> None:
    assert config('[daemon]\non_stop = "leave"').daemon.shutdown_grace == 0
    assert config('[daemon]\non_stop = "stop"').daemon.shutdown_grace == 10
    assert config('[daemon]\non_stop = "stop"\nshutdown_grace = 3').daemon.shutdown_grace == 3


def test_callables_are_forked_from_a_warm_interpreter_where_that_is_known_to_work(config) -> None:
    default = "fork" if sys.platform == "linux" else "exec"
    assert config().python.start == default
    assert config('[python]\nstart = "exec"').python.start == "exec"
    warm = config('[python]\nstart = "fork"\npreload = ["app.models", "json"]').python
    assert warm.preload == ("app.models", "json")


def test_a_stream_is_kept_up_to_a_gibibyte_or_as_told(config) -> None:
    assert config().output.max_bytes == 1 << 30
    assert config('[output]\nmax_bytes = "64KiB"').output.max_bytes == 65536


def test_the_engine_is_told_its_rules(config) -> None:
    rules = config(
        "[daemon]\nmax_running = 5\nmax_pending = 9\nmax_interruptions = 1\n"
        '[retention]\nmax_jobs = 7\nfailed = "1h"\n'
        "[queues.a]\nmax_running = 2\n[queues.b]\npriority = 2\n"
    ).rules()
    assert (rules.max_running, rules.max_pending, rules.max_interruptions) == (5, 9, 1)
    assert (rules.max_jobs, rules.failed_s, rules.completed_s) == (7, 3600.0, 7 * DAY_S)
    assert rules.queue_max == {"a": 2}


# ---------------------------------------------------------------------------------- policy


LAYERS = """
[defaults]
priority = 2
retry_delay = 7
timeout = 60
[queues.mail]
priority = 3
timeout = 30
[queues.plain]
"""


def test_policy_is_the_submissions_else_the_queues_else_the_defaults_else_built_in(config) -> None:
    policy = config(LAYERS).policy
    built_in = policy({}, is_command=False)
    assert built_in == Policy(priority=2, retry_delay=7.0, timeout=60.0)
    assert policy({"queue": "mail"}, is_command=False).priority == 3
    assert policy({"queue": "mail", "priority": 4}, is_command=False).priority == 4
    assert policy({"queue": "plain"}, is_command=False).priority == 2
    assert policy({"queue": "elsewhere"}, is_command=False).timeout == 60.0
    assert policy({"queue": "mail"}, is_command=False).retry_delay == 7.0


def test_null_is_a_value_that_a_submission_can_give(config) -> None:
    assert (
        config(LAYERS).policy({"queue": "mail", "timeout": None}, is_command=False).timeout is None
    )


def test_the_default_queue_may_be_another_one(config) -> None:
    policy = config('[defaults]\nqueue = "mail"\n[queues.mail]\npriority = 9').policy
    assert policy({}, is_command=False) == Policy(queue="mail", priority=9)
    assert policy({"queue": "default"}, is_command=False) == Policy()


def test_a_command_is_run_again_only_where_somebody_says_so(config) -> None:
    policy = config().policy
    assert policy({}, is_command=False).retry_attempts == 3
    assert policy({}, is_command=True).retry_attempts == 0
    assert policy({"retry_attempts": 2}, is_command=True).retry_attempts == 2
    by_default = config("[defaults]\nretry_attempts = 1\n[queues.q]\nretry_attempts = 4").policy
    assert by_default({}, is_command=True).retry_attempts == 1
    assert by_default({"queue": "q"}, is_command=True).retry_attempts == 4


def test_what_counts_as_success_and_what_ends_a_job_at_once_go_by_the_same_layers(config) -> None:
    policy = config(
        '[defaults]\nidle_timeout = "1m"\nsuccess_codes = [0, 3]\n[queues.mail]\n'
        'no_retry_on = [4, "SIGSEGV", "IOError", "app.errors.Fatal"]'
    ).policy
    mail = policy({"queue": "mail"}, is_command=True)
    assert (mail.idle_timeout, mail.success_codes) == (60.0, (0, 3))
    assert mail.no_retry_on == (4, "SIGSEGV", "OSError", "app.errors:Fatal")
    asked = {"queue": "mail", "no_retry_on": ["a.b:C"], "success_codes": [7], "idle_timeout": None}
    told = policy(asked, is_command=True)
    assert (told.no_retry_on, told.success_codes, told.idle_timeout) == (("a.b:C",), (7,), None)
    assert policy({}, is_command=True).no_retry_on == ()


def test_exit_codes_of_callables_mean_what_they_always_do(config) -> None:
    policy = config("[defaults]\nsuccess_codes = [3]").policy
    assert policy({}, is_command=False).success_codes == (0,)


def test_equal_policies_are_one_object(config) -> None:
    policy = config(LAYERS).policy
    one = policy({"timeout": 5, "target": "a:b"}, is_command=False)
    assert policy({"timeout": 5.0, "label": "x"}, is_command=False) is one
    assert policy({"timeout": 5, "priority": 2}, is_command=False) is one
    assert type(one.timeout) is float
    waits = policy({"backoff": [1, 2]}, is_command=False)
    assert waits.backoff == (1.0, 2.0)
    assert policy({"backoff": [1.0, 2.0]}, is_command=False) is waits


def test_policies_of_a_million_kinds_do_not_fill_the_memory(config) -> None:
    made = config()
    kinds = [made.policy({"retry_delay": n}, is_command=False) for n in range(10_000)]
    assert kinds[-1].retry_delay == 9999.0
    assert len(made._policies._known) < 5000


# ----------------------------------------------------------------------------- environment


def test_a_job_gets_what_is_passed_and_what_is_set_and_nothing_else(config) -> None:
    made = config('[env]\npass = ["LANG", "ABSENT"]\n[env.set]\nA = "1"')
    env = made.environment({"LANG": "C", "SECRET": "x", "PATH": "/evil", "HOME": "/h"})
    assert env == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C",
        "A": "1",
    }


def test_what_is_set_goes_before_what_is_passed(config) -> None:
    made = config('[env]\npass = ["PATH", "TZ"]\n[env.set]\nTZ = "UTC"')
    assert made.environment({"PATH": "/daemon", "TZ": "CET"}) == {"PATH": "/daemon", "TZ": "UTC"}
    made = config('[env]\npass = ["PATH"]\n[env.set]\nPATH = "/set"')
    assert made.environment({"PATH": "/daemon"}) == {"PATH": "/set"}


def test_by_default_home_and_language_are_passed_and_secrets_are_not(config) -> None:
    given = {"HOME": "/h", "LANG": "C", "AWS_SECRET_ACCESS_KEY": "x", "LD_PRELOAD": "x"}
    assert set(config().environment(given)) == {"PATH", "HOME", "LANG"}


# ---------------------------------------------------------------------------------- reload


def test_changes_are_told_by_key_and_apart_when_they_need_a_restart(config) -> None:
    old = config("[daemon]\nmax_running = 2\n[queues.a]\nmax_running = 1\n[journal]\ninterval = 1")
    new = config(
        '[daemon]\nmax_running = 3\nsocket = "/x"\n[journal]\ninterval = 2\n'
        '[allow.callables]\n"a:b" = []\n[defaults]\npriority = 2\n[env.set]\nA = "1"'
    )  # fmt: skip
    changed, restart = changes(old, new)
    assert changed == [
        'allow.callables."a:b"', "daemon.max_running", "defaults.priority", "env.set.A",
        "queues.a.max_running",
    ]  # fmt: skip
    assert restart == ["daemon.socket", "journal.interval"]
    assert changes(old, old) == ([], [])


def test_what_needs_a_restart_stays_as_it_runs_until_then(config) -> None:
    old = config("[daemon]\nmax_running = 2\n[journal]\ninterval = 1")
    text = '[daemon]\nmax_running = 3\nsocket = "/x"\n[journal]\ninterval = 2'
    now, changed, restart = reloaded(old, config(text))
    assert isinstance(now, Config)
    assert (changed, restart) == (["daemon.max_running"], ["daemon.socket", "journal.interval"])
    assert now.daemon.max_running == 3
    assert now.daemon.socket == old.daemon.socket
    assert now.journal == old.journal
    # Asked again, it is still to be restarted.
    assert reloaded(now, config(text))[1:] == ([], ["daemon.socket", "journal.interval"])


WARM = """
[python]
start = "fork"
preload = ["json"]
[limits.default]
memory = "1GiB"
[limits.max]
timeout = 60
nice = 2
open_files = 100
[queues.mail]
no_retry_on = [3, "app:Fatal"]
limits = { nice = 5 }
"""


@pytest.mark.parametrize(
    "text", ["", LAYERS, '[env.set]\nA = "1"\n[allow.callables]\n"a:b" = []', WARM]
)
def test_a_config_as_resolved_is_a_config_that_says_the_same(config, text: str) -> None:
    tomlkit = pytest.importorskip("tomlkit")
    resolved = config(text).resolved()
    assert config(tomlkit.dumps(resolved)).resolved() == resolved
