"""`jobctl run`: output, exit code and Ctrl-C of the job."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jobd.cli.running import code_of
from jobd.errors import Unauthorized

JOB = "a" * 16
STORED = {"id": JOB, "status": "pending", "duplicate": False}
END = {"attempt": 1, "data": "", "offset": 0, "eof": True, "skipped": 0, "lossy": False}


@pytest.mark.parametrize(
    ("kind", "told", "code"),
    [
        ("exit", {"exit_code": 3, "target": None}, 3),
        ("exit", {"exit_code": 0, "target": None}, 1),  # where 0 is no success
        ("memory", {"signal": "SIGKILL", "target": None}, 137),
        ("cpu_time", {"signal": "SIGXCPU", "target": None}, 152),
        ("exit", {"exit_code": 3}, 1),  # a callable that left by sys.exit(3)
        ("exception", {}, 1),
        ("signal", {"signal": "SIGKILL"}, 137),
        ("signal", {"signal": "SIGTERM", "target": None}, 143),
        ("signal", {"signal": "SIG40"}, 168),
        ("timeout", {"signal": "SIGTERM"}, 124),
        ("spawn", {"exit_code": 126, "target": None}, 126),
        ("spawn", {"exit_code": 127, "target": None}, 127),
        ("spawn", {"target": None}, 125),
        ("interrupted", {}, 125),
        ("unauthorized", {}, 125),
    ],
)
def test_a_failed_job_s_exit_code(failed, kind, told, code):
    assert code_of(failed(kind, **told)) == code


def test_a_completed_and_a_cancelled_job_s_exit_code(document):
    assert code_of(document()) == 0
    assert code_of(document(status="cancelled", failure=None)) == 130


@pytest.fixture
def job(daemon, document):
    """A job that writes to both streams and completes."""

    def write(params, say):
        word = params["stream"][-3:]
        say("log", {"id": JOB, "attempt": 1, "stream": params["stream"], "data": f"{word}\n",
                    "offset": 4})  # fmt: skip
        return END

    daemon.on("submit", STORED)
    daemon.on("logs", write)
    daemon.on("wait", {"jobs": [document()], "timed_out": False})
    return daemon


def test_each_stream_goes_where_the_job_wrote_it(jobctl, job):
    assert jobctl("run", "--", "prog", "-x") == (0, "out\n", "err\n")
    _, params = job.asked()
    assert (params["command"], params["retry_attempts"]) == (["prog", "-x"], 0)


def test_retries_are_made_only_when_asked_for(jobctl, job):
    jobctl("run", "app:f", "--retries", "2")
    assert job.asked()[1]["retry_attempts"] == 2


def test_with_json_the_document_is_all_that_is_printed(jobctl, job, document):
    code, out, err = jobctl("run", "--json", "app:f")
    assert (code, json.loads(out), err) == (0, document(), "")


def test_what_is_not_the_job_s_own_doing_is_said(jobctl, job, failed):
    spawned = failed("spawn", exit_code=127, message="no such program: prog", target=None)
    job.on("wait", {"jobs": [spawned], "timed_out": False})
    code, _, err = jobctl("run", "--", "prog")
    assert code == 127 and "no such program: prog" in err


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "app:f", "--nonsense"], ["run", "app:f", "--delay", "x"]]
)
def test_wrong_usage_is_125(jobctl, daemon, arguments):
    assert jobctl(*arguments)[0] == 125


def test_a_refusal_and_a_missing_daemon_are_125(jobctl, daemon, tmp_path):
    daemon.on("submit", Unauthorized("not allowed"))
    assert jobctl("run", "app:f")[0] == 125
    assert jobctl("run", "--socket", str(tmp_path / "none"), "app:f")[0] == 125


# Ctrl-C needs a process of its own.


class Process:
    def __init__(self, *arguments):
        source = str(Path(__file__).parents[2] / "src")
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "jobd.cli.jobctl", *arguments],
            env={**os.environ, "PYTHONPATH": source}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        self.told = b""

    def says(self, text, limit_s=10):
        """Waits until it has written `text` on stderr."""
        while text not in self.told:
            assert select.select([self.popen.stderr], [], [], limit_s)[0], self.told
            piece = os.read(self.popen.stderr.fileno(), 4096)
            assert piece, self.told
            self.told += piece

    def interrupt(self):
        self.popen.send_signal(signal.SIGINT)

    def ends(self):
        try:
            return self.popen.wait(10)
        finally:
            self.popen.kill()
            self.popen.stdout.close()
            self.popen.stderr.close()


@pytest.fixture
def running(daemon, document):
    """A job that runs until it is cancelled."""
    cancelled = threading.Event()

    def follow(params, say):
        if params["stream"] == "stderr":
            say("log", {"id": JOB, "attempt": 1, "stream": "stderr", "data": "up\n", "offset": 3})
        cancelled.wait(10)
        return {**END, "data": "bye\n"} if params["stream"] == "stdout" else END

    daemon.on("submit", STORED)
    daemon.on("logs", follow)
    daemon.cancelled = cancelled
    daemon.on("wait", {"jobs": [document(status="cancelled", failure=None)], "timed_out": False})
    return daemon


def test_ctrl_c_cancels_the_job_whose_output_is_shown_to_its_end(running):
    running.on("cancel", lambda params, say: running.cancelled.set() or {"id": JOB})
    jobctl = Process("run", "app:f")
    jobctl.says(b"up\n")
    jobctl.interrupt()
    jobctl.says(b"cancelling job")
    assert jobctl.popen.stdout.read() == b"bye\n"
    assert jobctl.ends() == 130
    assert ("cancel", {"id": JOB}) in running.all_asked()


def test_a_cancel_whose_answer_was_lost_is_asked_for_again(running, scripted):
    running.on(
        "cancel", scripted.DROP, lambda params, say: running.cancelled.set() or {"id": JOB}
    )  # fmt: skip
    jobctl = Process("run", "app:f")
    jobctl.says(b"up\n")
    jobctl.interrupt()
    assert jobctl.popen.stdout.read() == b"bye\n"
    assert jobctl.ends() == 130


def test_a_second_ctrl_c_leaves_the_job_and_goes(running, scripted):
    running.on("cancel", scripted.SILENCE)
    jobctl = Process("run", "app:f")
    jobctl.says(b"up\n")
    jobctl.interrupt()
    jobctl.says(b"cancelling job")
    jobctl.interrupt()
    jobctl.says(b"left to itself")
    assert jobctl.ends() == 130
    running.cancelled.set()
