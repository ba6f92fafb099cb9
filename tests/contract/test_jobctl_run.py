"""`jobctl run`: a job in place of a program."""

from __future__ import annotations

import signal

import pytest
from outside.waiting import until

covers = pytest.mark.covers


@covers("jobctl:run", "exit:jobctl run 0")
def test_run_shows_the_output_and_ends_as_the_job_did(shared):
    ran = shared.jobctl("run", "--", "/bin/sh", "-c", "echo out; echo err >&2")
    assert ran == (0, "out\n", "err\n")


@covers("exit:jobctl run 3", "exit:jobctl run 1")
@pytest.mark.parametrize("code", [1, 3, 77, 255])
def test_the_programs_own_code(shared, code):
    assert shared.jobctl("run", "--", "/bin/sh", "-c", f"exit {code}").code == code


@covers("exit:jobctl run 1")
@pytest.mark.parametrize("words", [["jobs:boom"], ["jobs:leave", ":=3"], ["jobs:missing"]])
def test_1_for_a_callable_that_failed(shared, words):
    assert shared.jobctl("run", *words).code == 1


@covers("exit:jobctl run 128+n")
@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV"])
def test_128_and_n_for_signal_n(shared, name):
    ran = shared.jobctl("run", "--", "/bin/sh", "-c", f"kill -{name} $$")
    assert ran.code == 128 + signal.Signals[f"SIG{name}"]


@covers("exit:jobctl run 124", "option:run --timeout")
def test_124_for_the_jobs_timeout(shared):
    ran = shared.jobctl("run", "--timeout", "0.1", "--", "/bin/sleep", "60")
    assert ran.code == 124


@covers("exit:jobctl run 126")
def test_126_for_what_is_not_executable(shared):
    path = shared.scratch("program")
    path.write_text("#!/bin/sh\n")
    assert shared.jobctl("run", "--", str(path)).code == 126


@covers("exit:jobctl run 127")
@pytest.mark.parametrize("program", ["/nowhere/at/all", "there-is-no-such-program"])
def test_127_for_what_is_not_there(shared, program):
    assert shared.jobctl("run", "--", program).code == 127


@covers("exit:jobctl run 130")
def test_130_where_it_was_cancelled(shared):
    process = shared.jobctl_started(
        "run", "--json", "--label", "to cancel", "--", "/bin/sleep", "60"
    )

    def there():
        jobs = shared.call("list", status="running")["jobs"]
        return [job["id"] for job in jobs if job["label"] == "to cancel"]

    [id] = until(there)
    shared.call("cancel", id=id)
    process.communicate(timeout=30)
    assert process.returncode == 130


@covers("exit:jobctl run 125", "option:run --json", "option:run --socket")
@pytest.mark.parametrize(
    "words",
    [["--nonsense", "--", "/bin/true"], [], ["--priority", "11", "--", "/bin/true"],
     ["os:system", "true"], ["--socket", "/nowhere/s", "--", "/bin/true"], ["--cwd", "/nowhere",
     "--", "/bin/true"]],
)  # fmt: skip
def test_125_for_anything_of_jobds_own(shared, words):
    ran = shared.jobctl("run", *words)
    assert (ran.code, ran.out) == (125, "")
    assert ran.err


@covers("jobctl:run")
def test_run_is_without_retries_unless_asked(shared):
    path = shared.scratch()
    words = ["run", "jobs:count", str(path), ":=3", "--retry-delay", "0"]
    assert shared.jobctl(*words).code == 1
    assert path.read_text() == "x"
    assert shared.jobctl(*words, "--retries", "2").code == 0
    assert path.read_text() == "xxx"


@covers("jobctl:run")
def test_interrupting_it_cancels_the_job(shared):
    process = shared.jobctl_started(
        "run", "--", "/bin/sh", "-c", 'trap "echo bye; exit 0" TERM; echo ready; sleep 60 & wait'
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == "bye\n"
    assert err


@covers("jobctl:run")
def test_interrupting_it_twice_leaves_the_job_and_goes(shared):
    process = shared.jobctl_started(
        "run", "--label", "left alone", "--kill-grace", "1h", "--", "/bin/sh", "-c",
        'trap "" TERM; echo ready; while :; do sleep 0.02; done',
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    [job] = [j for j in shared.call("list", status="running")["jobs"] if j["label"] == "left alone"]
    process.send_signal(signal.SIGINT)
    until(lambda: shared.status(job["id"])["stopping"])
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert shared.status(job["id"])["status"] == "running"
    shared.call("cancel", id=job["id"], force=True)


@covers("jobctl:run")
def test_output_comes_while_the_job_runs(shared):
    gate = shared.gate()
    process = shared.jobctl_started("run", "--", "/bin/sh", "-c", 'echo one; cat "$0"; echo two',
                                    str(gate.path))  # fmt: skip
    assert process.stdout.readline() == "one\n"
    gate.open()
    out, _ = process.communicate(timeout=30)
    assert (out, process.returncode) == ("two\n", 0)


@covers("option:run --json")
def test_with_json_the_document_is_all_there_is(shared):
    ran = shared.jobctl("run", "--json", "--", "/bin/sh", "-c", "echo hidden; exit 4")
    assert ran.code == 4
    assert ran.json["failure"]["exit_code"] == 4
    assert ran.json == shared.status(ran.json["id"])


def test_run_goes_on_over_a_restart_of_the_daemon(jobd):
    d = jobd()
    gate = d.gate()
    process = d.jobctl_started("run", "--", "/bin/sh", "-c", 'echo one; cat "$0"; echo two; exit 9',
                               str(gate.path))  # fmt: skip
    assert process.stdout.readline() == "one\n"
    d.kill()
    d.start()
    gate.open()
    out, _ = process.communicate(timeout=30)
    assert (out, process.returncode) == ("two\n", 9)
