"""The child as the keeper starts it, in every Python from 3.8 on that this machine has."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import jobd.child

MAIN = Path(jobd.child.__path__[0]) / "main.py"


class Ran(NamedTuple):
    code: int  # as `subprocess` has it: -n for signal n
    result: Any  # what is in the file; None: no file
    stdout: str
    stderr: str


def _runs(python: str) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def _pythons() -> list[str]:
    found = (shutil.which(f"python3.{minor}") for minor in (8, 9, 13))
    return [sys.executable, *(p for p in found if p and _runs(p))]


@pytest.fixture(params=_pythons(), ids=lambda path: Path(path).name)
def python(request: pytest.FixtureRequest) -> str:
    """For what differs between releases; all else is asked of one."""
    return str(request.param)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app"
    path.mkdir()
    return path


@pytest.fixture
def call(tmp_path: Path, app: Path) -> Callable[..., Ran]:
    def run(
        source: str, target: str = "jobs:f", *args: Any, method: str | None = None,
        kwargs: dict[str, Any] | None = None, patterns: list[str] | None = None,
        function_only: bool = False, python: str = sys.executable, cwd: str = "/",
        env: dict[str, str] | None = None, files: dict[str, str] | None = None,
    ) -> Ran:  # fmt: skip
        for name, text in {"jobs.py": source, **(files or {})}.items():
            (app / name).parent.mkdir(exist_ok=True)
            (app / name).write_text(text)
        directory = tmp_path / "attempt"
        directory.mkdir(exist_ok=True)
        (directory / "result.part").write_bytes(b"\0" * 4096)  # room, as the keeper makes it
        (directory / "call").write_text(json.dumps({
            "target": target, "method": method, "args": args, "kwargs": kwargs or {},
            "path": [str(app)], "patterns": patterns, "function_only": function_only,
        }))  # fmt: skip
        done = subprocess.run(
            [python, "-I", str(MAIN), str(directory)], capture_output=True, text=True, cwd=cwd,
            env=env or {}, stdin=subprocess.DEVNULL, timeout=30, check=False,
        )  # fmt: skip
        left = directory / "result"
        result = json.loads(left.read_text()) if left.exists() else None
        return Ran(done.returncode, result, done.stdout, done.stderr)

    return run


@pytest.fixture
def scripted() -> Any:
    """The client tests' module: ScriptedDaemon, DROP, SILENCE."""
    path = Path(__file__).parents[1] / "client/scripted.py"
    spec = importlib.util.spec_from_file_location("jobd_tests_scripted", path)
    assert spec is not None and spec.loader is not None
    if spec.name not in sys.modules:
        sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[spec.name])
    return sys.modules[spec.name]


@pytest.fixture
def daemon(scripted: Any, tmp_path: Path) -> Iterator[Any]:
    running = scripted.ScriptedDaemon(tmp_path / "s")
    yield running
    running.stop()
