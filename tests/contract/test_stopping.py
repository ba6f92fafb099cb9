"""Timeouts and cancels: a process tree is asked to stop, and killed when it does not."""

from __future__ import annotations

import signal
import sys
import time

import psutil
import pytest
from outside.waiting import epoch, until

covers = pytest.mark.covers

# Says that it is there, then goes on whatever it is told.
STUBBORN = 'trap "" TERM INT HUP USR1; echo ready; while :; do sleep 0.02; done'
POLITE = 'trap "echo told; exit 7" TERM; echo ready; while :; do sleep 0.02; done'


def ready(shared, id):
    until(lambda: shared.status(id)["attempt"] and "ready" in shared.out(id))
    return id


@covers("field:timeout")
def test_an_attempt_that_takes_too_long_ends_with_kind_timeout(shared):
    began = time.monotonic()
    done = shared.final(shared.submit(command=["/bin/sleep", "60"], timeout=0.15))
    assert time.monotonic() - began < 20
    assert done["status"] == "failed"
    assert done["failure"]["kind"] == "timeout"
    [attempt] = done["attempts"]
    assert (attempt["outcome"], attempt["signal"]) == ("timeout", "SIGTERM")
    assert epoch(attempt["finished_at"]) - epoch(attempt["started_at"]) >= 0.15


@covers("field:timeout")
def test_a_timeout_is_per_attempt_and_is_retried(shared):
    done = shared.run(command=["/bin/sleep", "60"], timeout=0.1, retry_attempts=1, retry_delay=0)
    assert [attempt["outcome"] for attempt in done["attempts"]] == ["timeout", "timeout"]


@covers("field:timeout")
def test_whatever_it_then_returns_it_was_a_timeout_and_its_code_is_noted(shared):
    done = shared.final(shared.sh('trap "exit 0" TERM; while :; do sleep 0.02; done', timeout=0.3))
    assert (done["status"], done["failure"]["kind"]) == ("failed", "timeout")
    assert done["attempts"][0]["exit_code"] == 0


@covers("field:timeout")
@pytest.mark.parametrize("timeout", [0, -1, True, "5", 1e11])
def test_a_timeout_is_more_than_0_seconds(shared, timeout):
    assert shared.refusal("submit", command=["/bin/true"], timeout=timeout).fields == {"timeout"}
    assert shared.run(command=["/bin/true"], timeout=None)["timeout"] is None


@covers("field:kill_grace")
def test_what_does_not_stop_is_killed_after_its_grace(shared):
    done = shared.final(shared.sh(STUBBORN, timeout=0.3, kill_grace=0.3))
    [attempt] = done["attempts"]
    assert (attempt["outcome"], attempt["signal"]) == ("timeout", "SIGKILL")
    took = epoch(attempt["finished_at"]) - epoch(attempt["started_at"])
    assert 0.6 <= took < 20


@covers("field:kill_grace")
def test_ten_seconds_are_the_built_in_grace(shared):
    id = ready(shared, shared.sh(POLITE))
    assert shared.status(id)["kill_grace"] == 10
    assert shared.call("cancel", id=id)["status"] == "cancelled"
    assert shared.status(id)["attempts"][0]["exit_code"] == 7, "it had its time"


@covers("field:kill_grace")
@pytest.mark.parametrize("grace", [-1, True, "5", None])
def test_a_grace_is_a_number_of_seconds(shared, grace):
    refused = shared.refusal("submit", command=["/bin/true"], kill_grace=grace)
    assert refused.fields == {"kill_grace"}


@covers("field:stop_signal")
def test_the_stop_signal_is_the_jobs_own(shared):
    script = 'trap "echo usr1; exit 0" USR1; echo ready; while :; do sleep 0.02; done'
    id = ready(shared, shared.sh(script, stop_signal="SIGUSR1"))
    shared.call("cancel", id=id)
    assert "usr1" in shared.out(id)


@covers("field:stop_signal")
@pytest.mark.parametrize("name", ["USR1", "sigterm", "SIGNOPE", "", 15, None, "SIG_DFL"])
def test_a_stop_signal_is_the_name_of_a_signal(shared, name):
    refused = shared.refusal("submit", command=["/bin/true"], stop_signal=name)
    assert refused.fields == {"stop_signal"}


@covers("method:cancel")
def test_cancel_answers_when_the_job_has_ended(shared):
    id = ready(shared, shared.sh(POLITE, retry_attempts=5))
    pid = shared.pid_of(id)
    assert shared.call("cancel", id=id) == {"id": id, "status": "cancelled"}
    assert not psutil.pid_exists(pid)
    document = shared.status(id)
    assert document["status"] == "cancelled"
    assert document["finished_at"] is not None
    assert document["stopping"] is None
    [attempt] = document["attempts"]
    assert (attempt["outcome"], attempt["exit_code"]) == ("cancelled", 7)
    assert shared.out(id) == "ready\ntold\n"


@covers("method:cancel")
def test_cancelling_a_job_that_waits_ends_it_without_an_attempt(shared):
    id = shared.submit(command=["/bin/true"], delay=3600)
    assert shared.call("cancel", id=id) == {"id": id, "status": "cancelled"}
    document = shared.status(id)
    assert (document["attempt"], document["attempts"], document["started_at"]) == (0, [], None)


@covers("param:cancel.force")
def test_with_force_it_is_killed(shared):
    id = ready(shared, shared.sh(STUBBORN))
    assert shared.call("cancel", id=id, force=True)["status"] == "cancelled"
    assert shared.status(id)["attempts"][0]["signal"] == "SIGKILL"


@covers("method:cancel", "param:cancel.force")
def test_a_second_cancel_joins_and_one_with_force_kills(shared, peer):
    id = ready(shared, shared.sh(STUBBORN, kill_grace=3600))
    first = peer.send("cancel", {"id": id})
    until(lambda: shared.status(id)["stopping"])
    second = peer.send("cancel", {"id": id})
    shared.call("ping")
    assert not peer.answered(first)
    assert not peer.answered(second)
    third = peer.send("cancel", {"id": id, "force": True})
    for cancel in (first, second, third):
        assert peer.answer(cancel) == {"id": id, "status": "cancelled"}
    assert not any('"Job cancelled' in line for line in shared.log())
    assert sum("Job cancelled" in line for line in shared.log_of(id)) == 1


@covers("method:cancel", "error:-32003")
@pytest.mark.parametrize("program", ["/bin/true", "/bin/false"])
def test_after_a_recorded_end_cancel_is_a_conflict(shared, program):
    done = shared.run(command=[program])
    refused = shared.refusal("cancel", id=done["id"])
    assert (refused.code, refused.data["type"]) == (-32003, "conflict")
    assert shared.status(done["id"])["status"] == done["status"]


@covers("method:cancel")
def test_a_cancelled_job_is_not_cancelled_again(shared):
    id = shared.submit(command=["/bin/true"], delay=3600)
    shared.call("cancel", id=id)
    assert shared.refusal("cancel", id=id).code == -32003


def test_why_it_is_being_stopped_is_shown(shared, peer):
    id = ready(shared, shared.sh(STUBBORN, kill_grace=3600))
    assert shared.status(id)["stopping"] is None
    peer.send("cancel", {"id": id})
    assert until(lambda: shared.status(id)["stopping"]) == "cancelled"
    timed = shared.sh(STUBBORN, timeout=0.1, kill_grace=3600)
    assert until(lambda: shared.status(timed)["stopping"]) == "timeout"
    for each in (id, timed):
        shared.call("cancel", id=each, force=True)


def test_a_cancel_during_a_timeouts_grace_is_a_cancel(shared, peer):
    id = shared.sh(STUBBORN, timeout=0.1, kill_grace=3600, retry_attempts=3)
    until(lambda: shared.status(id)["stopping"] == "timeout")
    assert peer.call("cancel", id=id, force=True)["status"] == "cancelled"


@covers("config:daemon.stray_children")
def test_an_attempt_ends_with_its_whole_tree_gone(shared):
    """Also what took a session of its own, and was left by its parent."""
    path = shared.scratch()
    id = shared.sh('setsid sh -c \'echo $$ >"$1"; exec sleep 3600\' sh "$1" & '
                   'until [ -s "$1" ]; do sleep 0.01; done; sleep 3600 & echo $! >>"$1"',
                   str(path))  # fmt: skip
    assert shared.final(id)["status"] == "completed"
    pids = [int(line) for line in path.read_text().split()]
    assert len(pids) == 2
    assert not any(map(psutil.pid_exists, pids))


@covers("config:daemon.stray_children")
def test_strays_may_be_left_alone(jobd):
    d = jobd({"daemon": {"stray_children": "leave"}})
    path = d.scratch()
    id = d.sh('sleep 3600 & echo $! >"$1"', str(path))
    assert d.final(id)["status"] == "completed"
    assert psutil.pid_exists(int(path.read_text()))


@covers("field:timeout")
def test_a_timeout_stops_the_whole_tree(shared):
    path = shared.scratch()
    id = shared.sh('sleep 3600 & echo $! >"$1"; wait', str(path), timeout=0.3)
    assert shared.final(id)["failure"]["kind"] == "timeout"
    assert not psutil.pid_exists(int(path.read_text()))


def test_a_signal_that_is_not_jobds_own_is_the_jobs_failure(shared):
    id = ready(shared, shared.sh(POLITE.replace("exit 7", "exit 0")))
    psutil.Process(shared.pid_of(id)).send_signal(signal.SIGKILL)
    failure = shared.final(id)["failure"]
    assert (failure["kind"], failure["signal"]) == ("signal", "SIGKILL")


def test_cpu_time_of_an_attempt_is_that_of_its_tree(shared):
    busy = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"
    [alone] = shared.final(shared.sh(busy))["attempts"]
    [parent] = shared.final(shared.sh(f"sh -c '{busy}'; true"))["attempts"]
    for attempt in (alone, parent):
        assert 0.005 < attempt["cpu_time"] < 30


def test_max_rss_is_the_largest_process_of_the_attempt(shared):
    hungry = "x = bytearray(80 << 20); x[::4096] = b'x' * len(x[::4096])"
    [attempt] = shared.run(command=[sys.executable, "-ISc", hungry])["attempts"]
    assert 80 << 20 < attempt["max_rss"] < 200 << 20
