from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import jobd
from jobd.client import Job, Unauthorized
from jobd.demo.story import Story, Told


@dataclass
class Demo:
    """One that has ended."""

    exit_code: int
    out: str
    err: str
    user_home: Path
    temporary: Path

    @property
    def home(self) -> Path:
        [home] = self.temporary.iterdir()
        return home

    @property
    def commands(self) -> list[list[str]]:
        """Those printed under `Look further`."""
        _, _, further = self.out.partition("\nLook further\n")
        lines = [line.strip() for line in further.splitlines()[3:]]
        return [shlex.split(line) for line in lines if line and not line.startswith("#")]

    def command(self, *words: str) -> list[str]:
        """The one that contains these words."""
        [found] = [command for command in self.commands if set(words) <= set(command)]
        return found


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Of a user whose home is empty, and whose variables lead to a jobd that can't work."""
    trap = tmp_path_factory.mktemp("trap")
    (trap / "jobd").mkdir()
    (trap / "jobd" / "jobd.toml").write_text("this is no config")
    temporary, home = tmp_path_factory.mktemp("t"), tmp_path_factory.mktemp("home")
    return {
        **os.environ, "HOME": str(home), "TMPDIR": str(temporary), "TERM": "dumb",
        "XDG_CONFIG_HOME": str(trap), "XDG_STATE_HOME": str(trap), "XDG_RUNTIME_DIR": str(trap),
        "JOBD_CONFIG": str(trap / "jobd" / "jobd.toml"), "JOBD_SOCKET": str(trap / "socket"),
        "PYTHONPATH": str(Path(jobd.__file__).parents[1]),
    }  # fmt: skip


@pytest.fixture(scope="session")
def demo(environment) -> Demo:
    done = subprocess.run(
        [sys.executable, "-m", "jobd.cli.jobd", "demo"], env=environment, capture_output=True,
        text=True, timeout=50,
    )  # fmt: skip
    return Demo(
        done.returncode, done.stdout, done.stderr, Path(environment["HOME"]),
        Path(environment["TMPDIR"]),
    )  # fmt: skip


def at(second: float) -> str:
    return f"2026-01-31T08:00:{second:09.6f}Z"


def document(id, *attempts, submitted=0.0, status="completed", **changes):
    """`attempts`: (started, finished, failure or None)."""
    told = [
        {
            "attempt": number, "started_at": at(started), "finished_at": at(finished),
            "outcome": failure["kind"] if failure else "completed", "exit_code": 0, "signal": None,
            "cpu_time": 0.5, "max_rss": 1 << 20, "failure": failure,
        }
        for number, (started, finished, failure) in enumerate(attempts, 1)
    ]  # fmt: skip
    return {
        "id": id, "label": id, "status": status, "priority": 1, "submitted_at": at(submitted),
        "started_at": told[-1]["started_at"] if told else None,
        "finished_at": at(attempts[-1][1] if attempts else submitted), "attempt": len(told),
        "attempts": told, "failure": told[-1]["failure"] if told else None, "result": None,
        **changes,
    }  # fmt: skip


MISSING = {"kind": "exception", "message": "FileNotFoundError: no archive"}
TIMEOUT = {"kind": "timeout", "message": "timed out after 1.5 s"}


@pytest.fixture
def told() -> tuple[Story, Told]:
    """A story that went as it should; tests spoil it."""
    survey = {"files": 1, "lines": 9, "imports": {"os": 2}, "unreadable": []}
    checked = {"files": 3, "archive_bytes": 2048, "differing": []}
    documents = [
        document("first", (0.1, 1.0, None), result=survey),
        document("second", (2.0, 3.0, None), result=survey),
        document("check", (0.1, 0.2, MISSING), (3.3, 3.5, None), retry_delay=3.0, result=checked),
        document("search", (3.0, 4.6, TIMEOUT), status="failed", timeout=1.5),
        document("archive", (2.1, 2.2, None), delay=2.0, command=["tar"]),
        document("urgent", (1.0, 1.5, None), submitted=0.5, priority=10, result=survey),
    ]
    jobs = {document["id"]: Job(None, document["id"]) for document in documents}
    story = Story(
        parts=[jobs["first"], jobs["second"], jobs["urgent"]], archive=jobs["archive"],
        check=jobs["check"], search=jobs["search"], urgent=jobs["urgent"],
        repeated=Job(None, "urgent", duplicate=True), refusal=Unauthorized("not on the list"),
        labels={id: id for id in jobs},
    )  # fmt: skip
    return story, Told(
        documents={document["id"]: document for document in documents}, listed=set(jobs),
        max_running=2, search_said="all come down to 1", refusal_logged="a line",
    )  # fmt: skip
