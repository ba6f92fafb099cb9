"""`jobctl allow` and `disallow`."""

from __future__ import annotations

import json
import os
import threading
import tomllib

import pytest

from jobd.cli.allowlist import Entry
from jobd.cli.arguments import UsageError
from jobd.errors import InvalidParams

CONFIG = """\
# Written by hand.
[daemon]
max_running = 4   # two a core

[allow]
commands = [
    "/usr/bin/rsync",  # nightly
]

[allow.callables]
"app.jobs:Send" = ["handle"]     # the first one
"app.jobs:rebuild" = []

[queues.mail]
max_running = 1
"""


def allowed(text, target, *methods):
    return tomllib.loads(Entry(target, methods).allowed(text))["allow"]


def test_a_method_is_added_to_those_that_are_listed_and_the_rest_stays_to_the_letter():
    text = Entry("app.jobs:Send", ["send_link"]).allowed(CONFIG)
    assert text == CONFIG.replace('["handle"] ', '["handle", "send_link"] ')


def test_a_program_is_added_to_the_commands_and_comments_stay():
    text = Entry("/opt/etl/bin/*", []).allowed(CONFIG)
    assert tomllib.loads(text)["allow"]["commands"] == ["/usr/bin/rsync", "/opt/etl/bin/*"]
    assert "# nightly" in text and "# Written by hand." in text


@pytest.mark.parametrize(
    ("target", "methods", "key", "value"),
    [
        ("app.jobs:Other", [], "app.jobs:Other", ["handle"]),
        ("app.jobs.Other", ["*"], "app.jobs:Other", ["*"]),
        ("app.jobs:Other@go", [], "app.jobs:Other", ["go"]),
        ("app.jobs:f", [], "app.jobs:f", []),
        ("app.jobs:*", [], "app.jobs:*", ["*"]),
        ("app.services.*", [], "app.services.*", ["*"]),
        ("app.jobs:Send", ["handle"], "app.jobs:Send", ["handle"]),
    ],
)
def test_what_a_line_becomes(target, methods, key, value):
    assert allowed(CONFIG, target, *methods)["callables"][key] == value


@pytest.mark.parametrize(
    "text", ["", "# nothing yet\n", "[daemon]\nmax_running = 1\n", "[allow]\n"]
)
@pytest.mark.parametrize("target", ["app.jobs:f", "/bin/true"])
def test_tables_that_are_missing_are_made(text, target):
    allow = allowed(text, target)
    assert allow in ({"callables": {"app.jobs:f": []}}, {"commands": ["/bin/true"]})
    again = Entry("app:g", []).allowed(
        Entry("/bin/sh", []).allowed(Entry(target, []).allowed(text))
    )
    both = tomllib.loads(again)["allow"]
    assert "/bin/sh" in both["commands"] and "app:g" in both["callables"]


def test_inline_and_dotted_layouts_are_edited_too():
    for text in (
        'allow = {commands = ["/bin/true"], callables = {"app:f" = []}}\n',
        'allow.commands = ["/bin/true"]\nallow.callables."app:f" = []\n',
    ):
        assert allowed(text, "app:g") == {
            "commands": ["/bin/true"], "callables": {"app:f": [], "app:g": []},
        }  # fmt: skip


@pytest.mark.parametrize("target", ["Send", "", "app"])
def test_what_is_neither_callable_nor_program_is_refused(target):
    with pytest.raises(UsageError, match="is no package"):
        Entry(target, [])


def test_a_program_has_no_methods():
    with pytest.raises(UsageError, match="no methods"):
        Entry("/bin/true", ["handle"])


def test_disallow_takes_out_a_method_and_with_the_last_one_the_line():
    two = Entry("app.jobs:Send", ["go"]).allowed(CONFIG)
    assert Entry("app.jobs:Send", ["go"]).disallowed(two) == CONFIG
    none = tomllib.loads(Entry("app.jobs:Send", ["handle"]).disallowed(CONFIG))
    assert none["allow"]["callables"] == {"app.jobs:rebuild": []}


def test_disallow_takes_out_a_line_and_a_program():
    text = Entry("app.jobs:rebuild", []).disallowed(CONFIG)
    assert text == CONFIG.replace('"app.jobs:rebuild" = []\n', "")
    assert tomllib.loads(Entry("/usr/bin/rsync", []).disallowed(CONFIG))["allow"]["commands"] == []


@pytest.mark.parametrize("target", ["app.jobs:None", "/bin/none", "app.jobs:Send@none"])
def test_disallow_of_what_is_not_listed_is_refused(target):
    with pytest.raises(UsageError, match="is not"):
        Entry(target, []).disallowed(CONFIG)


@pytest.mark.parametrize("text", ["[allow", "allow = 5", "[allow]\ncommands = 5\ncallables = 5\n"])
def test_a_config_that_is_none_is_refused(text):
    for target in ("app:f", "/bin/true"):
        with pytest.raises(UsageError):
            Entry(target, []).allowed(text)


# The file, and the daemon.


@pytest.fixture
def config(tmp_path, daemon):
    path = tmp_path / "jobd.toml"
    path.write_text(CONFIG)
    path.chmod(0o640)
    daemon.on("ping", {"config": str(path)})
    daemon.on("reload", {"changed": ["allow.callables"], "restart": []})
    return path


def methods_asked(daemon):
    return [method for method, _ in daemon.all_asked()]


def test_the_daemon_s_config_is_edited_and_read_again(jobctl, daemon, config):
    code, out, _ = jobctl("allow", "app.jobs:Send", "send_link")
    assert code == 0
    assert out == (f'{config}: app.jobs:Send = ["handle", "send_link"]\nchanged: allow.callables\n')
    assert '["handle", "send_link"]     # the first one' in config.read_text()
    assert methods_asked(daemon) == ["ping", "reload"]
    assert config.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(config.parent)) == ["jobd.toml", "s"]


def test_with_json_the_reload_s_answer_is_printed(jobctl, config):
    code, out, err = jobctl("allow", "--json", "app.jobs:f")
    assert (code, json.loads(out)) == (0, {"changed": ["allow.callables"], "restart": []})
    assert "app.jobs:f = []" in err


def test_disallow_edits_it_too(jobctl, config):
    assert jobctl("disallow", "app.jobs:rebuild")[0] == 0
    assert "rebuild" not in config.read_text()
    code, _, err = jobctl("disallow", "app.jobs:rebuild")
    assert code == 2 and "is not listed" in err


def test_a_change_that_the_daemon_refuses_is_undone(jobctl, daemon, config):
    daemon.on("reload", InvalidParams.of([("allow.callables", "no such thing")]))
    code, _, err = jobctl("allow", "app.jobs:f")
    assert code == 7 and "no such thing" in err and "is as it was" in err
    assert config.read_text() == CONFIG


def test_a_link_is_followed_and_stays_one(jobctl, daemon, config, tmp_path):
    link = tmp_path / "link.toml"
    link.symlink_to(config)
    daemon.on("ping", {"config": str(link)})
    assert jobctl("allow", "app.jobs:f")[0] == 0
    assert link.is_symlink() and "app.jobs:f" in config.read_text()
    assert methods_asked(daemon) == ["ping", "reload"]


def test_a_file_that_the_daemon_has_not_read_is_edited_and_nothing_reloaded(
    jobctl, daemon, config, tmp_path
):
    other = tmp_path / "other.toml"
    other.write_text("")
    code, _, err = jobctl("allow", "app.jobs:f", "--config", str(other))
    assert code == 0 and "nothing was reloaded" in err
    assert tomllib.loads(other.read_text()) == {"allow": {"callables": {"app.jobs:f": []}}}
    assert methods_asked(daemon) == ["ping"] and config.read_text() == CONFIG


def test_without_a_daemon_a_file_that_is_named_is_edited(jobctl, daemon, config):
    daemon.stop()
    assert jobctl("allow", "app.jobs:f", "--config", str(config))[0] == 0
    assert "app.jobs:f" in config.read_text()
    assert jobctl("allow", "app.jobs:g")[0] == 3


def test_a_daemon_without_a_config_has_nothing_to_edit(jobctl, daemon):
    daemon.on("ping", {"config": None})
    code, _, err = jobctl("allow", "app.jobs:f")
    assert code == 2 and "jobd init" in err


def test_a_file_that_can_t_be_read_is_named(jobctl, daemon, config, tmp_path):
    code, _, err = jobctl("allow", "app.jobs:f", "--config", str(tmp_path / "none.toml"))
    assert code == 2 and "none.toml" in err


def test_two_editors_take_turns(config):
    from jobd.cli.replacing import locked, read, replace

    def add(n):
        with locked(str(config)) as path:
            replace(path, Entry(f"app.jobs:f{n}", []).allowed(read(path)))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listed = tomllib.loads(config.read_text())["allow"]["callables"]
    assert {f"app.jobs:f{n}" for n in range(8)} <= set(listed)
