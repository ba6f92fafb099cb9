"""`jobd`, the daemon's own command: what it does, and its exit codes."""

from __future__ import annotations

import json
import os
import tomllib

import pytest
from outside.installation import Installation
from outside.waiting import until

covers = pytest.mark.covers


def journal_files(d):
    return sorted((d.state_dir / "journal").iterdir())


def state_of(path):
    """All files below a directory, with what they hold."""
    return {p: p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


@covers("jobd:run", "option:jobd run --config", "option:jobd run --state-dir",
        "option:jobd run --socket")  # fmt: skip
def test_what_the_command_line_says_goes_before_the_file(installation):
    d = installation()
    state, socket = d.home / "other-state", d.home / "other" / "s"
    d.socket = socket
    d.start("--state-dir", str(state), "--socket", str(socket))
    assert d.run(command=["/bin/true"])["status"] == "completed"
    assert (state / "journal").is_dir()
    assert not d.state_dir.exists()
    assert os.stat(socket).st_mode & 0o777 == 0o600
    assert os.stat(socket.parent).st_mode & 0o777 == 0o700
    assert os.stat(state).st_mode & 0o077 == 0


@covers("jobd:run")
def test_the_config_is_found_by_variable_then_in_the_users_place_never_here(installation):
    d = installation()
    xdg = d.home / "xdg"
    (xdg / "jobd").mkdir(parents=True)
    text = d.config_path.read_text()
    (d.home / "jobd.toml").rename(d.home / "elsewhere.toml")
    (d.home / "jobd.toml").write_text("this = 'is in the current directory'\n")
    (xdg / "jobd" / "jobd.toml").write_text(text + "\n[defaults]\npriority = 5\n")
    env = {"XDG_CONFIG_HOME": str(xdg)}
    ran = d.jobd("check", env=env)
    assert ran.code == 0, ran
    assert tomllib.loads(ran.out)["defaults"]["priority"] == 5
    ran = d.jobd("check", env={**env, "JOBD_CONFIG": str(d.home / "elsewhere.toml")})
    assert tomllib.loads(ran.out)["defaults"]["priority"] == 1
    ran = d.jobd("check", "--config", str(d.home / "nowhere.toml"), env=env)
    assert ran.code == 100
    assert "nowhere.toml" in ran.err


@covers("jobd:run")
def test_without_a_config_the_defaults_hold_in_the_users_places(installation):
    d = installation()
    env = {
        "XDG_STATE_HOME": str(d.home / "st"), "XDG_RUNTIME_DIR": str(d.home / "rt"),
        "XDG_CONFIG_HOME": str(d.home / "cf"),
    }  # fmt: skip
    (d.home / "rt").mkdir(mode=0o700)
    ran = d.jobd("check", env=env)
    table = tomllib.loads(ran.out)
    assert table["daemon"]["socket"] == str(d.home / "rt" / "jobd" / "jobd.sock")
    assert table["daemon"]["state_dir"] == str(d.home / "st" / "jobd")
    assert table["allow"] == {"commands": [], "env": [], "callables": {}}
    assert not (d.home / "st").exists(), "looking makes nothing"


@covers("jobd:init", "option:jobd init --config", "exit:jobd 100")
def test_init_writes_a_commented_config_and_never_over_another(installation):
    d = installation()
    path = d.home / "new" / "jobd.toml"
    ran = d.jobd("init", "--config", str(path))
    assert ran.code == 0, ran
    text = path.read_text()
    assert "[allow.callables]" in text
    assert text.count("#") > 20
    assert d.jobd("check", "--config", str(path)).code == 0
    path.write_text("# mine\n")
    again = d.jobd("init", "--config", str(path))
    assert again.code == 100
    assert str(path) in again.err
    assert path.read_text() == "# mine\n"
    env = {"XDG_CONFIG_HOME": str(d.home / "cf")}
    assert d.jobd("init", env=env).code == 0
    assert (d.home / "cf" / "jobd" / "jobd.toml").is_file()


@covers("jobd:init", "option:jobd init --state-dir")
def test_init_takes_places_that_it_does_not_need(installation):
    d = installation()
    ran = d.jobd("init", "--config", str(d.home / "n.toml"), "--state-dir", str(d.home / "s"))
    assert ran.code == 0
    assert not (d.home / "s").exists()


@covers("jobd:check", "option:jobd check --config", "option:jobd check --state-dir",
        "exit:jobd 0", "exit:jobd 100")  # fmt: skip
def test_check_prints_the_config_as_it_holds(installation):
    d = installation({"queues": {"mail": {"retry_delay": "1.5m", "max_running": 2}}})
    ran = d.jobd("check", "--config", str(d.config_path), "--state-dir", str(d.home / "moved"))
    assert ran.code == 0, ran
    table = tomllib.loads(ran.out)
    assert table["queues"]["mail"]["retry_delay"] == 90
    assert table["daemon"]["state_dir"] == str(d.home / "moved")
    assert table["daemon"]["max_pending"] == 1_000_000
    assert str(d.config_path) in ran.out
    d.write_config({"daemon": {"max_runnning": 1}, "logging": {"keep": "x"}})
    bad = d.jobd("check", "--config", str(d.config_path))
    assert (bad.code, bad.out) == (100, "")
    for text in (str(d.config_path), "daemon.max_runnning", "max_running", "logging.keep"):
        assert text in bad.err


@covers("exit:jobd 100")
@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["run", "--nonsense"], ["run", "--log-level", "loud"],
              ["journal"], ["journal", "nonsense"], ["check", "extra"], ["run", "extra"]]
)  # fmt: skip
def test_wrong_usage_is_100(installation, words):
    ran = installation().jobd(*words)
    assert (ran.code, ran.out) == (100, "")
    assert ran.err


@covers("jobd:service", "option:jobd service --config", "option:jobd service --state-dir")
def test_service_comes_later_and_says_so(installation):
    d = installation()
    for words in ([], ["--config", str(d.config_path), "--state-dir", str(d.state_dir)]):
        ran = d.jobd("service", *words)
        assert ran.code == 100
        assert "later" in ran.err


@pytest.mark.parametrize("words", [["install"], ["status"], ["uninstall", "--force"]])
def test_a_verb_of_service_comes_later_and_says_so(installation, words):
    ran = installation().jobd("service", *words)
    assert ran.code == 100
    assert "later" in ran.err


@covers("exit:jobd 100")
def test_a_config_error_is_one_line_that_names_file_and_key(installation):
    d = installation({"defaults": {"priority": 11}})
    assert d.spawn().wait(30) == 100
    [line] = d.stderr.splitlines()
    assert str(d.config_path) in line
    assert "defaults.priority" in line
    assert "10" in line
    assert not d.state_dir.exists()


@covers("exit:jobd 111")
def test_a_second_daemon_on_the_same_state_directory_is_111_and_touches_nothing(jobd):
    d = jobd()
    d.run(command=["/bin/true"])
    until(lambda: not list((d.state_dir / "attempts").iterdir()))  # its keeper has tidied up
    until(lambda: any("warm_ready" in line for line in d.log("jobd.log")))
    before = state_of(d.home / "state"), state_of(d.log_dir)
    second = d.jobd("run", "--config", str(d.config_path), "--socket", str(d.home / "second" / "s"))
    assert second.code == 111
    [line] = second.err.splitlines()
    assert str(d.state_dir) in line
    assert (state_of(d.home / "state"), state_of(d.log_dir)) == before
    same = d.jobd("run", "--config", str(d.config_path))
    assert same.code == 111
    assert len(same.err.splitlines()) == 1
    assert d.run(command=["/bin/true"])["status"] == "completed"


@covers("jobd:journal", "option:jobd journal --config", "option:jobd journal --state-dir",
        "option:jobd journal verify --json", "exit:jobd 0", "exit:jobd 100")  # fmt: skip
def test_journal_verify_is_0_where_it_is_sound_and_100_where_it_is_damaged(jobd):
    d = jobd()
    for _ in range(5):
        d.run(command=["/bin/true"])
    d.stop()
    by_config = d.jobd("journal", "verify", "--config", str(d.config_path))
    assert by_config.code == 0, by_config
    assert "sound" in by_config.out
    sound = d.jobd("journal", "--state-dir", str(d.state_dir), "verify", "--json")
    assert sound.json["sound"] is True
    [segment] = journal_files(d)
    content = bytearray(segment.read_bytes())
    lines = content.split(b"\n")
    offset = len(lines[0]) + 1 + len(lines[1]) + 1
    content[offset + 40] ^= 1
    segment.write_bytes(content)
    bad = d.jobd("journal", "verify", "--config", str(d.config_path))
    assert bad.code == 100
    assert f"{segment}:3" in bad.err
    assert str(offset) in bad.err
    told = d.jobd("journal", "verify", "--json", "--config", str(d.config_path))
    assert told.code == 100
    assert (told.json["sound"], told.json["line"], told.json["offset"]) == (False, 3, offset)
    assert segment.read_bytes() == content


@covers("jobd:journal", "option:jobd journal dump --json", "option:jobd journal dump --secrets")
def test_journal_dump_shows_no_env_values_without_secrets(jobd):
    d = jobd()
    id = d.run(command=["/bin/true"], env={"TOKEN": "s3cret"})["id"]
    d.stop()
    for words in (["dump"], ["dump", "--json"]):
        ran = d.jobd("journal", *words, "--config", str(d.config_path))
        assert ran.code == 0
        assert "s3cret" not in ran.out
        assert id in ran.out
        assert "TOKEN" in ran.out
        shown = d.jobd("journal", *words, "--secrets", "--config", str(d.config_path))
        assert "s3cret" in shown.out
    records = [json.loads(line) for line in ran.out.splitlines()]
    assert [record["seq"] for record in records] == [1, 2, 3]


@covers(
    "option:jobd journal verify --config", "option:jobd journal verify --state-dir",
    "option:jobd journal dump --config", "option:jobd journal dump --state-dir",
    "option:jobd journal stats --config", "option:jobd journal stats --state-dir",
    "option:jobd journal compact --config", "option:jobd journal compact --state-dir",
    "option:jobd journal repair --config", "option:jobd journal repair --state-dir",
)  # fmt: skip
def test_each_tool_finds_the_journal_by_config_or_by_state_dir(jobd):
    d = jobd()
    d.submit(command=["/bin/true"], delay=3600)
    d.stop()
    for tool in ("verify", "dump", "stats", "compact", "repair"):
        for place in (["--config", str(d.config_path)], ["--state-dir", str(d.state_dir)]):
            assert d.jobd("journal", tool, *place).code == 0, tool
    for tool in ("verify", "repair"):
        elsewhere = d.jobd("journal", tool, "--state-dir", str(d.home / "nowhere"))
        assert elsewhere.code == 100, tool


@covers("option:jobd journal stats --json")
def test_journal_stats(jobd):
    d = jobd()
    d.run(command=["/bin/true"])
    d.stop()
    ran = d.jobd("journal", "stats", "--config", str(d.config_path))
    assert ran.code == 0
    assert ran.out
    told = d.jobd("journal", "stats", "--json", "--config", str(d.config_path)).json
    assert told["jobs"]["completed"] == 1


@covers("option:jobd journal compact --json", "exit:jobd 111")
def test_journal_compact_keeps_the_jobs_and_needs_the_daemon_stopped(jobd):
    d = jobd()
    id = d.submit(command=["/bin/false"], retry_attempts=300, retry_delay=0)
    kept = d.final(id)
    waiting = d.submit(command=["/bin/true"], delay=3600, request_id="r")
    busy = d.jobd("journal", "compact", "--config", str(d.config_path))
    assert busy.code == 111
    document = d.status(waiting)
    d.stop()
    size = sum(path.stat().st_size for path in journal_files(d))
    assert d.jobd("journal", "compact", "--json", "--config", str(d.config_path)).code == 0
    assert sum(path.stat().st_size for path in journal_files(d)) < size / 5
    d.start()
    assert d.status(id) == kept
    assert d.status(waiting) == document
    again = d.call("submit", command=["/bin/true"], delay=3600, request_id="r")
    assert (again["id"], again["duplicate"]) == (waiting, True)


@covers("option:jobd journal repair --json")
def test_journal_repair_has_nothing_to_do_where_it_is_sound_and_needs_the_daemon_stopped(jobd):
    d = jobd()
    d.run(command=["/bin/true"])
    assert d.jobd("journal", "repair", "--config", str(d.config_path)).code == 111
    d.stop()
    before = state_of(d.state_dir)
    ran = d.jobd("journal", "repair", "--json", "--config", str(d.config_path))
    assert ran.code == 0
    assert ran.json == {"repaired": False, "sound": True}
    assert state_of(d.state_dir) == before


def test_a_journal_that_there_is_not_is_100(installation):
    d = installation()
    for tool in ("verify", "dump", "stats", "compact", "repair"):
        ran = d.jobd("journal", tool, "--config", str(d.config_path))
        assert ran.code == 100, tool
        assert str(d.state_dir) in ran.err
    assert not d.state_dir.exists(), "looking makes nothing"


def test_help_and_version(installation, monkeypatch):
    monkeypatch.setattr(Installation, "forks", None)  # as a shell starts them
    d = installation()
    for run in (d.jobd, d.jobctl):
        for option in ("--help", "--version"):
            ran = run(option)
            assert (ran.code, ran.err) == (0, "")
            assert ran.out
    assert until(lambda: "0.1.0" in d.jobd("--version").out)
