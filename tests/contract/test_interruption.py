"""What is interrupted is run again, and counted; what was asked for is not."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from outside.waiting import epoch, until

covers = pytest.mark.covers


def interrupt(d, id):
    """Kills the keeper, as a host would die."""
    keeper = d.keeper(id)
    pid = d.pid_of(id)
    attempt = d.status(id)["attempt"]
    os.kill(keeper.pid, signal.SIGKILL)
    until(lambda: d.status(id)["attempt"] > attempt or d.status(id)["status"] != "running")
    assert not psutil.pid_exists(pid), "what a dead keeper leaves is ended before the next attempt"


@covers("field:on_interrupt", "config:daemon.max_interruptions")
def test_an_attempt_whose_keeper_died_is_interrupted_and_run_again_without_spending_a_retry(jobd):
    d = jobd({"daemon": {"max_interruptions": 1}})
    gate = d.gate()
    id = d.submit(command=gate.command, retry_delay=0.2, retry_attempts=0)
    interrupt(d, id)
    document = d.until_status(id, "running")
    first = document["attempts"][0]
    assert (first["outcome"], first["failure"]["kind"]) == ("interrupted", "interrupted")
    assert epoch(document["attempts"][1]["started_at"]) - epoch(first["finished_at"]) >= 0.2
    assert document["retries_left"] == 0
    assert any("Job retrying" in line for line in d.log_of(id))

    interrupt(d, id)
    failed = d.final(id)
    assert (failed["status"], failed["failure"]["kind"]) == ("failed", "interrupted")
    assert failed["attempt"] == 2


@covers("field:on_interrupt")
def test_with_fail_it_fails_at_once(jobd):
    d = jobd()
    gate = d.gate()
    id = d.submit(command=gate.command, on_interrupt="fail", retry_attempts=5)
    interrupt(d, id)
    done = d.final(id)
    assert (done["status"], done["failure"]["kind"]) == ("failed", "interrupted")
    assert done["attempt"] == 1


@covers("field:on_interrupt")
@pytest.mark.parametrize("value", ["never", "", True, None])
def test_on_interrupt_is_retry_or_fail(shared, value):
    refused = shared.refusal("submit", command=["/bin/true"], on_interrupt=value)
    assert refused.fields == {"on_interrupt"}


def test_a_keeper_that_dies_while_the_daemon_is_away_is_noticed_at_the_next_start(jobd):
    d = jobd()
    gate = d.gate()
    id = d.submit(command=gate.command, retry_delay=0)
    keeper, pid = d.keeper(id), d.pid_of(id)
    d.kill()
    os.kill(keeper.pid, signal.SIGKILL)
    d.start()
    until(lambda: not psutil.pid_exists(pid))
    until(lambda: d.status(id)["attempt"] == 2)
    assert d.status(id)["attempts"][0]["outcome"] == "interrupted"
    gate.open()
    assert d.final(id)["status"] == "completed"


def test_new_jobs_run_after_the_keeper_died(jobd):
    d = jobd()
    gate = d.gate()
    id = d.submit(command=gate.command, on_interrupt="fail")
    os.kill(d.keeper(id).pid, signal.SIGKILL)
    d.final(id)
    assert d.run(command=["/bin/true"])["status"] == "completed"


@covers("config:daemon.on_stop", "config:daemon.shutdown_grace")
def test_with_on_stop_stop_what_runs_is_stopped_recorded_as_interrupted_and_not_counted(jobd):
    d = jobd({"daemon": {"on_stop": "stop", "shutdown_grace": 0, "max_interruptions": 0}})
    gate = d.gate()
    id = d.submit(command=gate.command, retry_delay=0, retry_attempts=0)
    pid = d.pid_of(id)
    assert d.stop() == 0
    assert not psutil.pid_exists(pid)
    d.start()
    until(lambda: d.status(id)["attempt"] == 2)
    assert d.status(id)["attempts"][0]["outcome"] == "interrupted"
    gate.open()
    assert d.final(id)["status"] == "completed"


@covers("field:on_interrupt")
def test_with_on_stop_stop_and_on_interrupt_fail_it_fails(jobd):
    d = jobd({"daemon": {"on_stop": "stop", "shutdown_grace": 0}})
    gate = d.gate()
    id = d.submit(command=gate.command, on_interrupt="fail")
    d.until_status(id, "running")
    assert d.stop() == 0
    assert d.start().status(id)["failure"]["kind"] == "interrupted"


@covers("config:daemon.on_stop")
def test_with_leave_what_runs_goes_on_under_the_next_daemon(jobd):
    d = jobd()
    gate = d.gate()
    id = d.submit(command=gate.command)
    pid = d.pid_of(id)
    before = d.status(id)
    assert d.stop() == 0
    assert psutil.pid_exists(pid)
    after = d.start().status(id)
    assert after == before, "its pid and started_at too"
    gate.open()
    assert d.final(id)["status"] == "completed"
    assert d.status(id)["attempt"] == 1


@covers("config:daemon.shutdown_grace", "exit:jobd 0")
def test_a_stop_waits_shutdown_grace_for_what_runs(jobd):
    d = jobd({"daemon": {"shutdown_grace": 3600}})
    gate = d.gate()
    id = d.submit(command=gate.command)
    d.until_status(id, "running")
    late = d.submit(command=["/bin/true"], delay=0.05)
    d.process.send_signal(signal.SIGTERM)
    until(lambda: d.call("stats")["running"] == 1 and "stopping" in "\n".join(d.log("jobd.log")))
    stored = d.submit(command=["/bin/true"])
    gate.open()
    assert d.ended() == 0
    d.start()
    assert d.final(id)["attempt"] == 1
    assert d.final(late)["status"] == d.final(stored)["status"] == "completed"


@covers("config:daemon.shutdown_grace")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_skips_the_wait(jobd, number):
    d = jobd({"daemon": {"shutdown_grace": 3600}})
    gate = d.gate()
    id = d.submit(command=gate.command)
    pid = d.pid_of(id)
    d.process.send_signal(signal.SIGTERM)
    until(lambda: "stopping" in "\n".join(d.log("jobd.log")))
    assert d.process.poll() is None
    assert d.stop(number) == 0
    assert psutil.pid_exists(pid)
