"""Where things are, unless somebody says otherwise."""

from __future__ import annotations

import pytest

from jobd.paths import find_config, find_socket, system_places, user_places


@pytest.fixture
def environ(tmp_path):
    return {
        "HOME": str(tmp_path / "home"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }


def test_the_user_s_places_follow_xdg(environ, tmp_path):
    places = user_places(environ)
    assert places.socket == f"{tmp_path}/run/jobd/jobd.sock"
    assert places.state_dir == places.log_dir == f"{tmp_path}/state/jobd"
    assert places.config == f"{tmp_path}/config/jobd/jobd.toml"


def test_without_a_runtime_directory_the_socket_is_with_the_state(environ, tmp_path):
    del environ["XDG_RUNTIME_DIR"]
    assert user_places(environ).socket == f"{tmp_path}/state/jobd/jobd.sock"


def test_without_xdg_everything_is_below_home():
    places = user_places({"HOME": "/home/me"})
    assert places.socket == "/home/me/.local/state/jobd/jobd.sock"
    assert places.state_dir == "/home/me/.local/state/jobd"
    assert places.config == "/home/me/.config/jobd/jobd.toml"


def test_a_relative_xdg_directory_is_ignored():
    assert user_places({"HOME": "/h", "XDG_CONFIG_HOME": "x"}).config == "/h/.config/jobd/jobd.toml"


def test_the_system_s_places_are_fixed(environ):
    places = system_places(environ)
    assert (places.socket, places.state_dir) == ("/run/jobd/jobd.sock", "/var/lib/jobd")
    assert (places.log_dir, places.config) == ("/var/log/jobd", "/etc/jobd/jobd.toml")


def test_the_socket_is_as_told_then_the_environment_s_then_the_user_s(environ, tmp_path):
    user_s = f"{tmp_path}/run/jobd/jobd.sock"
    assert find_socket(None, environ) == user_s
    environ["JOBD_SOCKET"] = "/env"
    assert find_socket(None, environ) == "/env"
    assert find_socket("/told", environ) == "/told"


def test_the_system_s_socket_is_used_only_where_the_user_s_does_not_exist(
    environ, tmp_path, monkeypatch
):
    system_s = tmp_path / "system.sock"
    monkeypatch.setattr(
        "jobd.paths.system_places", lambda environ: type("P", (), {"socket": str(system_s)})
    )
    system_s.touch()
    assert find_socket(None, environ) == str(system_s)
    user_s = tmp_path / "run/jobd/jobd.sock"
    user_s.parent.mkdir(parents=True)
    user_s.touch()
    assert find_socket(None, environ) == str(user_s)


def test_the_config_is_never_looked_for_in_the_current_directory(environ, tmp_path, monkeypatch):
    (tmp_path / "jobd.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert find_config(None, environ) is None
    config = tmp_path / "config/jobd/jobd.toml"
    config.parent.mkdir(parents=True)
    config.touch()
    assert find_config(None, environ) == str(config)
    environ["JOBD_CONFIG"] = "/env.toml"
    assert find_config(None, environ) == "/env.toml"
    assert find_config("/told.toml", environ) == "/told.toml"
