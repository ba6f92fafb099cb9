"""jobctl and the clients against the daemon itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobd.client import AsyncClient, Client, JobFailed, Unauthorized, run_background_job

SOURCE = str(Path(__file__).parents[2] / "src")
JOBS = """
import sys, time

def add(a, b=2):
    print("adding", flush=True)
    print("warned", file=sys.stderr)
    return a + b

def fail():
    raise ValueError("no luck")

def count(n):
    for i in range(n):
        print(i, flush=True)
        time.sleep(0.05)

class Send:
    def handle(self, user_id):
        return {"sent": user_id}

class Hidden:
    def handle(self):
        pass
"""
CONFIG = """
[daemon]
socket = "{home}/s"
state_dir = "{home}/state"
log_dir = "{home}/log"
max_running = 4
[python]
path = ["{home}"]
[allow]
commands = ["/bin/*", "/usr/bin/*"]
[allow.callables]
"app:add" = []
"app:fail" = []
"app:count" = []
"app:Send" = ["handle"]
"""


class Daemon:
    def __init__(self, home):
        self.home = home
        self.path = f"{home}/s"
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jobd.cli.jobd", "run", "--config", f"{self.home}/jobd.toml"],
            env={**os.environ, "PYTHONPATH": SOURCE}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        until(lambda: self.process.poll() is not None or answers(self.path))
        assert self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def answers(path):
    with socket.socket(socket.AF_UNIX) as link:
        return link.connect_ex(path) == 0


def until(condition, limit_s=15):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    home = tmp_path_factory.mktemp("d")
    (home / "app.py").write_text(JOBS)
    (home / "jobd.toml").write_text(CONFIG.format(home=home))
    daemon = Daemon(home)
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture(autouse=True)
def found(real, monkeypatch):
    monkeypatch.setenv("JOBD_SOCKET", real.path)


def test_a_job_from_submission_to_removal(jobctl):
    code, out, _ = jobctl("submit", "app:add", "a:=40", "--label", "sum")
    id = out.strip()
    assert code == 0 and len(id) == 16
    assert jobctl("wait", id, "--timeout", "20") == (0, f"{id}  completed\n", "")
    shown = json.loads(jobctl("status", "--json", id[:8])[1])
    assert (shown["id"], shown["result"], shown["label"]) == (id, 42, "sum")
    assert f"{id}  completed" in jobctl("list")[1]
    assert sorted(jobctl("logs", id)[1].splitlines()) == ["adding", "warned"]
    assert jobctl("logs", id, "--stdout")[1] == "adding\n"
    assert jobctl("cancel", id)[0] == 6
    assert jobctl("retry", id)[0] == 0
    assert jobctl("wait", id)[0] == 0
    assert jobctl("remove", id)[0] == 0
    assert jobctl("status", id)[0] == 5


def test_wait_for_a_failed_job_is_1_and_says_why(jobctl):
    id = jobctl("submit", "app:fail", "--retries", "0")[1].strip()
    code, out, _ = jobctl("wait", id)
    assert code == 1 and "ValueError: no luck" in out
    assert "no luck" in jobctl("status", id)[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["app:add", "a:=1"], (0, "adding\n", "warned\n")),
        (["--", "sh", "-c", "echo out; echo err >&2; exit 7"], (7, "out\n", "err\n")),
        (["--", "sh", "-c", "kill -KILL $$"], (137, "", "")),
        (["--", "true"], (0, "", "")),
    ],
)
def test_run_stands_in_for_the_program(jobctl, arguments, expected):
    assert jobctl("run", *arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["app:fail"], 1), (["--timeout", "0.1", "--", "sleep", "60"], 124),
     (["--", "no-such-program"], 127), (["app:Hidden"], 125)],
)  # fmt: skip
def test_run_s_exit_code_says_what_became_of_it(jobctl, arguments, code):
    got, _, err = jobctl("run", *arguments)
    assert got == code and err


def test_what_is_not_allowed_is_4_until_it_is(jobctl, real):
    assert jobctl("submit", "app:Hidden")[0] == 4
    assert jobctl("allow", "app:Hidden")[0] == 0
    assert jobctl("run", "app:Hidden")[0] == 0
    assert jobctl("disallow", "app:Hidden")[0] == 0
    assert jobctl("submit", "app:Hidden")[0] == 4
    assert (real.home / "jobd.toml").read_text() == CONFIG.format(home=real.home)


def test_bad_fields_are_named_and_7(jobctl):
    code, _, err = jobctl("submit", "app:add", "--priority", "11", "--queue", "no such")
    assert code == 7 and "  priority: " in err and "  queue: " in err


def test_a_file_of_jobs(jobctl, tmp_path):
    file = tmp_path / "jobs"
    file.write_text('{"target": "app:add", "args": [1]}\n{"command": ["true"]}\n')
    ids = jobctl("submit", "--from", str(file))[1].split()
    assert len(ids) == 2 and jobctl("wait", *ids)[0] == 0


def test_the_other_commands_answer(jobctl):
    for verb in ([], ["stats"], ["ping"], ["reload"], ["drain"], ["drain", "--off"]):
        code, out, err = jobctl(*verb)
        assert (code, err) == (0, "") and out


def test_ctrl_c_in_run_cancels_the_job(real):
    run = start_run("app:count", "n:=1000")
    assert run.stdout.readline() == "0\n"
    run.send_signal(signal.SIGINT)
    assert run.wait(20) == 130
    assert "cancelling job" in run.stderr.read()
    run.stdout.close()
    run.stderr.close()


def test_run_tells_each_line_once_while_the_daemon_is_killed_and_started_again(real):
    run = start_run("app:count", "n:=40")
    assert run.stdout.readline() == "0\n"
    real.kill()
    real.start()
    out, err = run.communicate(timeout=30)
    assert (run.returncode, err) == (0, "")
    assert out.split() == [str(n) for n in range(1, 40)]


def start_run(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "jobd.cli.jobctl", "run", *arguments], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": SOURCE},
    )  # fmt: skip


# The Python clients.


def test_the_examples_of_the_readme(real):
    id = run_background_job("app.Send", "handle", {"user_id": 123})
    with Client() as jobs:
        assert jobs.job(id).wait(timeout=20).result == {"sent": 123}
        assert jobs.submit("app:Send", kwargs={"user_id": 5}).wait(20).result == {"sent": 5}
        failed = jobs.submit("app:fail", retry_attempts=0).wait(timeout=20)
        with pytest.raises(JobFailed) as error:
            _ = failed.result
        assert error.value.failure["kind"] == "exception"
        with pytest.raises(Unauthorized):
            jobs.submit("os:system", args=["true"])
        sleeping = jobs.submit(command=["sleep", "60"])
        with pytest.raises(TimeoutError):
            sleeping.wait(timeout=0.2)
        assert sleeping.cancel(force=True)["status"] == "cancelled"


def test_the_same_request_id_finds_the_same_job(real):
    with Client() as jobs:
        first = jobs.submit("app:add", args=[1], request_id="once")
        again = jobs.submit("app:add", args=[1], request_id="once")
        assert (first.id, first.duplicate, again.duplicate) == (again.id, False, True)


def test_async_clients_do_the_same(real):
    async def story():
        async with AsyncClient() as jobs:
            submitted = await asyncio.gather(
                *(jobs.submit("app:Send", kwargs={"user_id": n}) for n in range(5))
            )
            done = [await job.wait(timeout=20) for job in submitted]
            told = [chunk["data"] async for chunk in jobs.follow(done[0].id)]
            return [job.result["sent"] for job in done], told

    assert asyncio.run(story()) == (list(range(5)), [])


def test_a_submission_survives_a_daemon_that_is_killed_meanwhile(real):
    with Client() as jobs:
        jobs.ping()
        real.kill()
        real.start()
        assert jobs.submit("app:add", args=[1]).wait(timeout=20).result == 3


@pytest.mark.parametrize(
    ("redirection", "code"), [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0), (">/dev/full", 2)]
)
@pytest.mark.parametrize("arguments", ["list", "list --json", "stats", "--help"])
def test_an_output_that_nobody_can_take_is_no_traceback(arguments, redirection, code):
    script = f"{sys.executable} -m jobd.cli.jobctl {arguments} {redirection}"
    environ = {**os.environ, "PYTHONPATH": SOURCE, "PYTHONUNBUFFERED": ""}
    ended = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, env=environ, text=True, timeout=20
    )
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_a_locale_that_lacks_a_character_is_no_traceback(jobctl):
    id = jobctl("submit", "app:add", "a:=1", "--label", "größer")[1].strip()
    environ = {
        **os.environ, "PYTHONPATH": SOURCE, "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
    }  # fmt: skip
    shown = subprocess.run(
        [sys.executable, "-m", "jobd.cli.jobctl", "list"], capture_output=True, env=environ,
        timeout=20,
    )  # fmt: skip
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert id.encode() in shown.stdout
