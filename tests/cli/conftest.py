from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path

import pytest


@pytest.fixture
def scripted():
    """The client tests' module: ScriptedDaemon, DROP, SILENCE."""
    path = Path(__file__).parents[1] / "client/scripted.py"
    spec = importlib.util.spec_from_file_location("jobd_tests_scripted", path)
    if spec.name not in sys.modules:
        sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[spec.name])
    return sys.modules[spec.name]


@pytest.fixture
def daemon(scripted, tmp_path, monkeypatch):
    path = tmp_path / "s"
    running = scripted.ScriptedDaemon(path)
    monkeypatch.setenv("JOBD_SOCKET", str(path))
    yield running
    running.stop()


@pytest.fixture
def jobctl(capsys, monkeypatch):
    """Runs jobctl in this process: (exit code, stdout, stderr)."""
    from jobd.cli.jobctl import main

    def run(*arguments, input=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(input))
        try:
            code = main(list(arguments))
        except SystemExit as exit:
            code = exit.code
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def document():
    """A whole job document."""

    def make(**changes):
        return {
            "id": "a" * 16, "status": "completed", "stopping": None,
            "submitted_at": "2026-01-31T08:00:00.000000Z", "submitted_by": "uid:1000",
            "run_at": "2026-01-31T08:00:00.000000Z", "started_at": "2026-01-31T08:00:01.000000Z",
            "finished_at": "2026-01-31T08:00:03.500000Z", "attempt": 1, "retries_left": 3,
            "progress": None, "result": None, "failure": None, "target": "app.jobs:Send",
            "method": "handle", "command": None, "args": [], "kwargs": {"user_id": 123},
            "queue": "default", "priority": 1, "label": None, "tags": [], "env": [],
            "attempts": [{
                "attempt": 1, "pid": 4711, "started_at": "2026-01-31T08:00:01.000000Z",
                "finished_at": "2026-01-31T08:00:03.500000Z", "outcome": "completed",
                "exit_code": 0, "signal": None, "cpu_time": 0.25, "max_rss": 12345678,
                "failure": None,
            }], **changes,
        }  # fmt: skip

    return make


@pytest.fixture
def failed(document):
    def make(kind, *, exit_code=None, signal=None, message="why", **changes):
        failure = {
            "kind": kind, "message": message, "exit_code": exit_code, "signal": signal,
            "traceback": None,
        }  # fmt: skip
        return document(status="failed", failure=failure, **changes)

    return make
