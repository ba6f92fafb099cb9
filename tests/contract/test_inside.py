"""What a job says and asks from inside: its progress, its stop, another attempt or none."""

from __future__ import annotations

import os
import sys

import pytest
from outside.waiting import epoch, until

covers = pytest.mark.covers


def ready(shared, id):
    until(lambda: shared.status(id)["attempt"] and "ready" in shared.out(id))
    return id


def progress(shared, id):
    return shared.status(id)["progress"]


# Stops.


@pytest.mark.parametrize("options", [{}, {"stop_signal": "SIGUSR1"}])
def test_a_job_that_asks_cleans_up_when_it_is_cancelled(shared, options):
    id = ready(shared, shared.submit(target="jobs:obey", **options))
    assert shared.call("cancel", id=id)["status"] == "cancelled"
    done = shared.final(id)
    [attempt] = done["attempts"]
    assert (attempt["outcome"], attempt["signal"]) == (
        "cancelled", options.get("stop_signal", "SIGTERM"),
    )  # fmt: skip
    assert shared.out(id) == "ready\ncleaned up\n"
    assert shared.out(id, "stderr") == ""


def test_a_job_that_asks_cleans_up_at_its_timeout(shared):
    done = shared.run(target="jobs:obey", timeout=2, retry_attempts=0)
    assert (done["status"], done["failure"]["kind"]) == ("failed", "timeout")
    assert done["failure"]["traceback"] is None
    assert shared.out(done["id"]) == "ready\ncleaned up\n"
    assert not [line for line in shared.log_of(done["id"]) if "Cancelled" in line]


def test_a_signal_that_jobd_did_not_send_is_what_ended_it(shared):
    id = ready(shared, shared.submit(target="jobs:obey", retry_attempts=0))
    os.kill(shared.pid_of(id), 15)
    done = shared.final(id)
    assert (done["failure"]["kind"], done["failure"]["signal"]) == ("signal", "SIGTERM")
    assert shared.out(id) == "ready\ncleaned up\n"


# Another attempt, or none.


def test_a_retry_comes_when_the_job_wants_it_and_spends_one(shared):
    path = shared.scratch()
    id = shared.submit(target="jobs:again", args=[0.2, str(path)], retry_attempts=1, retry_delay=60)
    done = shared.final(id)
    first, second = done["attempts"]
    assert path.read_text() == "xx"
    assert 0.2 <= epoch(second["started_at"]) - epoch(first["finished_at"]) < 30
    assert (done["status"], done["retries_left"]) == ("failed", 0)
    assert done["failure"]["kind"] == "exception"


def test_a_fail_is_final_however_many_retries_are_left(shared):
    done = shared.run(target="jobs:hopeless", args=["no such user"], retry_attempts=5)
    assert (done["status"], done["attempt"]) == ("failed", 1)
    assert done["failure"]["kind"] == "exception"
    assert "no such user" in done["failure"]["message"]


# Progress.


@covers("method:progress", "param:progress.id", "param:progress.fraction",
        "param:progress.message")  # fmt: skip
def test_a_callable_tells_its_progress(shared):
    gate = shared.gate()
    id = shared.submit(target="jobs:report", args=[0.4, "page 2 of 5", str(gate.path)])
    until(lambda: progress(shared, id) is not None)
    assert progress(shared, id) == {"fraction": 0.4, "message": "page 2 of 5"}
    gate.open()
    assert shared.final(id)["progress"] == {"fraction": 0.4, "message": "page 2 of 5"}


def test_the_last_report_is_there_when_the_job_has_ended(shared):
    done = shared.run(target="jobs:report", args=[1, None, "/dev/null"])
    assert done["progress"] == {"fraction": 1, "message": None}


@covers("jobctl:progress", "option:progress --id", "option:progress --json")
def test_a_command_tells_its_progress(shared):
    gate = shared.gate()
    script = f'{sys.executable} -m jobd.cli.jobctl progress 40% "page 2 of 5"; cat "$1"'
    id = shared.sh(script, str(gate.path))
    until(lambda: progress(shared, id) == {"fraction": 0.4, "message": "page 2 of 5"}, 30)
    ran = shared.jobctl("progress", "0.5", "--id", id, "--json")
    assert (ran.code, ran.json) == (0, {})
    assert progress(shared, id) == {"fraction": 0.5, "message": None}
    gate.open()
    shared.final(id)
    assert shared.jobctl("progress", "0.6", "--id", id).code == 6


@covers("option:progress --socket")
def test_progress_of_no_job_is_wrong_usage(shared):
    assert shared.jobctl("progress", "0.5", "--socket", str(shared.socket)).code == 2
    assert shared.jobctl("progress", "50", "--id", "abcd").code == 2


# From outside.


@covers("jobctl:top", "option:top --json", "option:top --interval", "option:top --socket")
def test_top_shows_what_runs(shared):
    gate = shared.gate()
    block = "bytearray(64 << 20); print('last words', flush=True); open(sys.argv[1])"
    command = [sys.executable, "-c", f"import sys; block = {block}", str(gate.path)]
    id = shared.submit(command=command, label="the block", timeout=3600)
    until(lambda: "last words" in shared.out(id))
    ran = shared.jobctl("top", "--interval", "2s", "--socket", str(shared.socket))
    assert (ran.code, ran.err) == (0, "")
    [line] = [line for line in ran.out.splitlines() if id in line]
    assert "the block" in line and "/1h00m" in line and line.endswith("last words")
    assert float(line.split(" MiB")[0].split()[-1]) > 64
    by_json = shared.jobctl("top", "--json").json
    assert id in [job["id"] for job in by_json["jobs"]]
    assert by_json["cursor"] is None
    gate.open()
    shared.final(id)
    assert id not in shared.jobctl("top").out
