"""`jobd init`, `check` and the rest of the daemon's own command."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jobd.cli.jobd import main, reference

SRC = str(Path(__file__).resolve().parents[2] / "src")


@pytest.fixture
def at_home(home, monkeypatch) -> Path:
    """Run as somebody who has no config anywhere."""
    for name in ("JOBD_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", home["HOME"])
    return Path(home["HOME"])


def test_init_writes_the_commented_reference_for_its_owner(at_home, capsys) -> None:
    assert main(["init"]) == 0
    path = at_home / ".config/jobd/jobd.toml"
    assert path.read_text() == reference()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert str(path) in capsys.readouterr().out
    assert main(["check"]) == 0


def test_init_never_touches_a_file_that_is_there(at_home, tmp_path, capsys) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("# mine")
    assert main(["init", "--config", str(path)]) == 100
    assert path.read_text() == "# mine"
    assert f"{path} is there already" in capsys.readouterr().err


def test_init_says_where_it_can_not_write(at_home, capsys) -> None:
    assert main(["init", "--config", "/proc/x/jobd.toml"]) == 100
    assert capsys.readouterr().err.startswith("jobd: /proc/x/jobd.toml can't be written")


@pytest.mark.parametrize("before", [True, False])
def test_check_prints_the_config_as_it_holds(at_home, tmp_path, capsys, before) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[daemon]\nmax_running = 7\n[retention]\nfailed = "1h"')
    told = ["--config", str(path), "--state-dir", str(tmp_path / "s")]
    assert main([*told, "check"] if before else ["check", *told]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"# {path}\n")
    said = tomllib.loads(out)
    assert said["daemon"]["max_running"] == 7
    assert said["daemon"]["max_pending"] == 1_000_000
    assert said["daemon"]["state_dir"] == str(tmp_path / "s")
    assert said["retention"]["failed"] == 3600.0


def test_check_says_that_there_is_no_file(at_home, capsys) -> None:
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith("# no config file")


def test_check_tells_every_fault_in_one_line(at_home, tmp_path, capsys) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[daemon]\nmax_running = 0\n[access]\n[retention]\nfaild = "1h"')
    assert main(["check", "--config", str(path)]) == 100
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    for part in (str(path), "daemon.max_running", "access", "later release", "failed"):
        assert part in printed.err


@pytest.mark.parametrize(
    "argv",
    [[], ["frobnicate"], ["run", "--frobnicate"], ["run", "--log-level", "loud"], ["--conf", "x"],
     ["check", "x"], ["--config"], ["journal"], ["init", "--log-level", "info"],
     ["demo", "--socket", "/x"]],
)  # fmt: skip
def test_wrong_usage_is_told_and_starting_again_will_not_help(at_home, argv, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 100
    assert "usage: jobd" in capsys.readouterr().err


def test_the_service_comes_later(at_home, capsys) -> None:
    assert main(["service"]) == 100
    assert "later release" in capsys.readouterr().err


def test_the_demo_takes_no_config_of_yours(at_home, capsys) -> None:
    pytest.importorskip("jobd.demo")
    assert main(["demo", "--config", "/x"]) == 100


def test_version_and_help_are_no_errors(at_home, capsys) -> None:
    for argv in (["--version"], ["--help"], ["run", "--help"], ["journal", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(argv)
        assert caught.value.code == 0
    assert "--config" in capsys.readouterr().out


def test_the_journals_tools_look_where_the_config_says(at_home, tmp_path, capsys) -> None:
    path = tmp_path / "c.toml"
    state = tmp_path / "nothing-here"
    path.write_text(f'[daemon]\nstate_dir = "{state}"')
    for argv in (["journal", "verify", "--config", str(path)],
                 ["journal", "--config", str(path), "verify"],
                 ["journal", "verify", "--state-dir", str(state)]):  # fmt: skip
        assert main(argv) == 100
        assert str(state) in capsys.readouterr().err
    assert not state.exists()


def test_a_config_that_is_wrong_stops_the_daemon_before_it_touches_anything(
    at_home, tmp_path
) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[daemon]\nmax_running = 0")
    ended = subprocess.run(
        [sys.executable, "-m", "jobd.cli.jobd", "run", "--config", str(path)],
        env={**os.environ, "PYTHONPATH": SRC}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 100
    assert ended.stderr.startswith(f"jobd: {path}: daemon.max_running: must be at least 1")
    assert ended.stderr.count("\n") == 1
    assert not at_home.exists()
