"""The death of the daemon ends no attempt: the next one takes over what runs."""

from __future__ import annotations

import signal
import time

import psutil
import pytest
from outside.waiting import epoch, until

covers = pytest.mark.covers


def leave(d, how):
    """The daemon goes; what it ran goes on."""
    if how == "kill":
        d.kill()
    else:
        assert d.stop() == 0


each_way = pytest.mark.parametrize("how", ["kill", "term"])


@each_way
@covers("config:daemon.on_stop")
def test_an_exit_code_of_7_while_nobody_was_there_is_kept(jobd, how):
    d = jobd()
    gate = d.gate()
    id = d.sh('echo before; cat "$1"; echo after; exit 7', str(gate.path), retry_attempts=0)
    pid = d.pid_of(id)
    before = d.status(id)
    leave(d, how)
    assert psutil.pid_exists(pid)
    gate.open()
    until(lambda: not psutil.pid_exists(pid))
    d.start()
    done = d.final(id)
    assert (done["status"], done["failure"]["kind"], done["failure"]["exit_code"]) == (
        "failed", "exit", 7,
    )  # fmt: skip
    [attempt] = done["attempts"]
    assert (attempt["pid"], attempt["started_at"]) == (pid, before["started_at"])
    assert attempt["cpu_time"] is not None
    assert attempt["max_rss"] is not None
    assert d.out(id) == "before\nafter\n"
    assert [line.split("Job ")[1].split(":")[0] for line in d.log_of(id)] == ["started", "failed"]


@each_way
def test_a_job_that_ends_under_the_next_daemon_ends_as_ever(jobd, how):
    d = jobd()
    gate = d.gate()
    id = d.sh('cat "$1"; echo done; exit 3', str(gate.path))
    pid, before = d.pid_of(id), d.status(id)
    leave(d, how)
    d.start()
    assert d.status(id) == before
    assert d.status(id)["attempts"][0]["pid"] == pid
    with d.peer() as peer:
        follows = peer.send("logs", {"id": id, "follow": True, "stream": "stdout"})
        gate.open()
        last = peer.answer(follows)
        assert "".join(n["data"] for n in peer.notes_so_far()) + last["data"] == "done\n"
    done = d.final(id)
    assert (done["attempt"], done["failure"]["exit_code"]) == (1, 3)


@pytest.mark.parametrize("when", ["away", "later"])
def test_a_callables_result_is_not_lost(jobd, when):
    d = jobd()
    gate = d.gate()
    id = d.submit(target="jobs:wait_for", args=[str(gate.path)])
    pid = d.pid_of(id)
    d.kill()
    if when == "away":
        gate.open()
        until(lambda: not psutil.pid_exists(pid))
    d.start()
    if when == "later":
        gate.open()
    done = d.final(id)
    assert (done["status"], done["result"], done["attempt"]) == ("completed", "waited", 1)


@covers("field:timeout")
def test_the_rest_of_its_timeout_goes_on(jobd):
    d = jobd()
    id = d.submit(command=["/bin/sleep", "600"], timeout=1.5)
    until(lambda: d.status(id)["attempt"])
    d.kill()
    d.start()
    done = d.final(id)
    [attempt] = done["attempts"]
    assert attempt["outcome"] == "timeout"
    took = epoch(attempt["finished_at"]) - epoch(attempt["started_at"])
    assert 1.5 <= took < 20


@covers("field:timeout")
def test_a_timeout_that_passed_while_nobody_was_there_is_enforced_at_once(jobd):
    d = jobd()
    id = d.submit(command=["/bin/sleep", "600"], timeout=0.5)
    until(lambda: d.status(id)["attempt"])
    started = time.monotonic()
    d.kill()
    until(lambda: time.monotonic() > started + 0.6)
    d.start()
    assert d.final(id)["failure"]["kind"] == "timeout"


@covers("method:cancel")
def test_an_adopted_job_is_cancelled_as_ever(jobd):
    d = jobd()
    id = d.sh('trap "echo told; exit 0" TERM; echo ready; while :; do sleep 0.02; done')
    until(lambda: d.status(id)["attempt"] and d.out(id))
    d.kill()
    d.start()
    assert d.call("cancel", id=id)["status"] == "cancelled"
    assert d.out(id) == "ready\ntold\n"


def test_a_cancel_on_record_goes_on_after_the_kill(jobd):
    d = jobd()
    id = d.sh('trap "" TERM; echo ready; while :; do sleep 0.02; done', kill_grace=1)
    until(lambda: d.status(id)["attempt"] and d.out(id))
    with d.peer() as peer:
        peer.send("cancel", {"id": id})
        until(lambda: "cancelled" in (d.status(id)["stopping"], d.status(id)["status"]))
        d.kill()
    d.start()
    done = d.final(id)
    assert (done["status"], done["attempts"][0]["signal"]) == ("cancelled", "SIGKILL")


def test_adopted_jobs_take_their_slots(jobd):
    d = jobd({"daemon": {"max_running": 1}, "queues": {"one": {"max_running": 1}}})
    gate = d.gate()
    first = d.submit(command=gate.command, queue="one")
    d.until_status(first, "running")
    second = d.submit(command=["/bin/true"])
    d.kill()
    d.start()
    assert d.call("stats")["running"] == 1
    assert d.status(second)["status"] == "pending"
    gate.open()
    assert d.final(second)["status"] == "completed"
    assert d.final(first)["status"] == "completed"


def test_over_three_kills_it_is_still_one_attempt(jobd):
    d = jobd()
    gate = d.gate()
    id = d.submit(command=gate.command)
    pid = d.pid_of(id)
    for _ in range(3):
        d.kill()
        d.start()
        assert d.pid_of(id) == pid
    gate.open()
    assert d.final(id)["attempt"] == 1


def test_no_keeper_stays_when_there_is_neither_daemon_nor_job(jobd):
    d = jobd()
    gate = d.gate()
    id = d.submit(command=gate.command)
    d.until_status(id, "running")
    d.kill()
    assert d.processes(), "the keeper and the job"
    gate.open()
    until(lambda: not d.processes())
    d.start()
    assert d.final(id)["status"] == "completed"
    d.stop(signal.SIGINT)
    until(lambda: not d.processes())
