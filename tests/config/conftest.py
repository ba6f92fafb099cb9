from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobd.config import Config, load
from jobd.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing is configured."""
    return {"HOME": str(tmp_path / "home")}


@pytest.fixture
def config(tmp_path: Path, home: dict[str, str]) -> Callable[..., Config]:
    """Of a file with this text."""

    def make(text: str = "", **told) -> Config:
        path = tmp_path / "jobd.toml"
        path.write_text(text)
        return load(path, environ=home, **told)

    return make


@pytest.fixture
def faults(config) -> Callable[[str], dict[str, str]]:
    """What is wrong with a file of this text, by key; and that the message says all of it."""

    def find(text: str) -> dict[str, str]:
        with pytest.raises(ConfigError) as caught:
            config(text)
        found = dict(caught.value.faults)
        assert len(found) == len(caught.value.faults)
        assert all(key in str(caught.value) for key in found)
        assert all(fault in str(caught.value) for fault in found.values())
        assert str(caught.value).startswith(caught.value.path)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 100
        return found

    return find
