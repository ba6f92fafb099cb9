"""`jobd demo`, as somebody runs it who has just cloned the repository."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

STATEMENTS = (
    r"ok   (\d+) of \1 parts of the library were surveyed",
    r"ok   at most [12] ran at the same time; max_running is 2",
    r"ok   package asyncio, urgent: priority 10, submitted last, .* before ([1-9]\d*) of the \1",
    r"ok   archive email: delay 2 s, started \d+\.\d+ s after its submission; .* code 0",
    r"ok   check archive of email: attempt 1 ended with exception: FileNotFoundError: ",
    r"; attempt \d found [1-9]\d* files in .*, 0 of them other than installed",
    r"ok   long search: timeout 1.5 s, ended after 1\.\d+ s with timeout: .*SIGTERM",
    r"ok   os:system: refused with -32001 \(os:system is not on the allow-list\), 0 jobs made",
    r"jobd\.ERROR: Unauthorized job execution attempt: os:system \{",
    r"ok   package asyncio, urgent: submitted twice under one request_id; jobs made: 1, starts: 1",
    r"ok   the daemon was told to stop and ended with code 0",
)


def test_the_demo_goes_as_it_says(demo):
    assert (demo.exit_code, demo.err) == (0, "")
    assert "NOT" not in demo.out
    for statement in STATEMENTS:
        assert re.search(statement, demo.out), statement


def test_without_a_terminal_it_is_plain_text(demo):
    assert "\x1b" not in demo.out
    assert re.search(r"^ *\d+\.\d\ds  completed      package asyncio", demo.out, re.MULTILINE)
    assert re.search(r"^PART +FILES +LINES", demo.out, re.MULTILINE)


def test_nothing_of_the_users_is_touched(demo, environment):
    assert list(demo.user_home.iterdir()) == []
    trap = Path(environment["XDG_STATE_HOME"])
    assert sorted(path.name for path in trap.rglob("*")) == ["jobd", "jobd.toml"]
    assert (demo.home.stat().st_mode & 0o777) == 0o700
    assert not (demo.home / "socket").exists()
    assert processes_of(demo.home) == []


def test_every_command_that_it_prints_works_in_that_order(demo, environment):
    *commands, remove = demo.commands
    assert remove == ["rm", "-r", str(demo.home)]
    assert len(commands) == 12
    outputs = {}
    with contextlib.ExitStack() as daemon:
        for command in commands:
            if command[-1] == "&":
                serving = daemon.enter_context(served(command[:-1], environment))
            else:
                outputs[tuple(command)] = output_of(command, environment)
        assert serving.wait(20) == 0
    check = demo.command("status")[-1]
    said = {words[-1]: out for words, out in outputs.items()}
    assert "Job started: survey:package " in said[str(demo.home / "logs/background_jobs.log")]
    assert "FileNotFoundError" in said[f"{demo.home}/logs/output/{check[:2]}/{check}/1.stderr"]
    assert "come down to 1" in outputs[tuple(demo.command("logs"))]
    assert "check archive of email" in said[check]
    assert "json/decoder.py" in said["name=json"]
    assert any(out.startswith("sound: ") for out in outputs.values())
    assert processes_of(demo.home) == []


@pytest.fixture
def on_a_terminal(environment, tmp_path):
    """The demo, begun: (process, the terminal's other end)."""
    ours, theirs = pty.openpty()
    environment = {**environment, "TERM": "xterm", "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "jobd.cli.jobd", "demo"], env=environment, stdin=theirs,
        stdout=theirs, stderr=subprocess.PIPE, start_new_session=True, text=True,
    )  # fmt: skip
    os.close(theirs)
    with process:
        yield process, ours
        process.kill()
    os.close(ours)


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_leaves_nothing_behind(on_a_terminal, tmp_path, told):
    process, terminal = on_a_terminal
    shown = read_until(terminal, "running        package asyncio, urgent")
    assert "jobs ended" in shown
    assert re.search(r"\d+ wait: ", shown)
    [home] = tmp_path.iterdir()
    assert processes_of(home)
    process.send_signal(told)
    drained = read_until(terminal, None)
    assert "Look further" not in drained
    assert process.wait(20) == 130
    assert process.stderr.read() == "interrupted; the daemon is stopped and all is removed\n"
    assert list(tmp_path.iterdir()) == []
    assert processes_of(home) == []


def test_a_daemon_that_cannot_start_is_told_in_a_line(environment, tmp_path):
    (tmp_path / "jobd").mkdir()
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'run' in sys.orig_argv:\n    os._exit(3)\n"
    )
    paths = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "jobd.cli.jobd", "demo"], capture_output=True, text=True,
        env={**environment, "PYTHONPATH": paths, "TMPDIR": str(tmp_path)}, timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("jobd demo: the daemon did not start: it said nothing\n")
    assert str(tmp_path / "jobd-demo-") in done.stderr


@contextlib.contextmanager
def served(command, environment):
    """The daemon, once it listens; stopped at the latest at the end."""
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert " listens on " in process.stderr.readline()
            yield process
        finally:
            process.terminate()


def output_of(command, environment):
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def read_until(terminal: int, text: str | None) -> str:
    """What the terminal showed up to then; None: up to its end."""
    shown = b""
    while text is None or text.encode() not in shown:
        ready, _, _ = select.select([terminal], [], [], 30)
        assert ready, shown
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # nobody is left at the other end
            chunk = b""
        if not chunk:
            assert text is None, shown
            break
        shown += chunk
    return shown.decode()


def processes_of(home: Path) -> list[str]:
    """Command lines, and whose directory is there: the daemon, its keeper, its jobs."""
    found = []
    for process in psutil.process_iter():
        try:
            line, cwd = " ".join(process.cmdline()), process.cwd()
        except psutil.Error:
            continue
        if str(home) in line or cwd.startswith(str(home)):
            found.append(line)
    return found
