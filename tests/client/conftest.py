from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def _load(name):
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"jobd_tests_{name}", path)
    module = sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec))
    if not hasattr(module, "ScriptedDaemon"):
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def scripted():
    """The module: ScriptedDaemon, DROP, HALF, SILENCE."""
    return _load("scripted")


@pytest.fixture
def daemon(scripted, tmp_path, monkeypatch):
    path = tmp_path / "s"
    running = scripted.ScriptedDaemon(path)
    monkeypatch.setenv("JOBD_SOCKET", str(path))
    yield running
    running.stop()


@pytest.fixture
def jobs(daemon):
    from jobd.client import Client

    with Client() as jobs:
        yield jobs


@pytest.fixture
def short_patience(monkeypatch):
    """30 s are the contract's; a test has not got them."""
    from jobd.client import patience

    monkeypatch.setattr(patience, "GIVE_UP_S", 0.4)
    return patience


@pytest.fixture
def final():
    """A final job document, as much of it as a client reads."""

    def make(id="a" * 16, status="completed", result=None, failure=None):
        return {"id": id, "status": status, "result": result, "failure": failure}

    return make
