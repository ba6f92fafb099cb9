"""Signs of life: `idle_timeout`, and `progress` from inside and outside of a job."""

from __future__ import annotations

import time

import pytest
from outside.waiting import epoch, until

covers = pytest.mark.covers

TRUE = ["/bin/true"]
SLEEP = ["/bin/sleep", "600"]
TALKS = 'echo $$ > "$1"; until [ -e "$2" ]; do echo .; sleep 0.1; done'


@covers("field:idle_timeout")
def test_who_writes_nothing_for_that_long_is_stopped_as_after_a_timeout(shared):
    id = shared.submit(command=SLEEP, idle_timeout=0.3)
    done = shared.final(id)
    assert (done["status"], done["failure"]["kind"]) == ("failed", "timeout")
    assert "idle" in done["failure"]["message"]
    assert done["attempts"][0]["signal"] == "SIGTERM"
    assert epoch(done["finished_at"]) - epoch(done["started_at"]) >= 0.3
    assert any("idle" in line for line in shared.log_of(id))


@covers("field:idle_timeout", "field:kill_grace")
def test_who_ignores_the_stop_signal_is_killed_after_its_grace(shared):
    script = 'trap "" TERM; touch "$1"; while :; do sleep 600; done'
    ready = shared.scratch()
    id = shared.sh(script, str(ready), idle_timeout=1, kill_grace=0.2)
    until(lambda: shared.status(id)["stopping"] == "idle")
    assert ready.exists()
    done = shared.final(id)
    assert (done["failure"]["kind"], done["attempts"][0]["signal"]) == ("timeout", "SIGKILL")


@covers("field:idle_timeout")
@pytest.mark.parametrize("stream", ["", " >&2"], ids=["stdout", "stderr"])
def test_who_writes_now_and_then_is_left_alone_and_stopped_once_it_falls_silent(shared, stream):
    gate = shared.scratch()
    script = f'until [ -e "$1" ]; do echo .{stream}; sleep 0.1; done; exec sleep 600'
    id = shared.sh(script, str(gate), idle_timeout=1.5)
    # It has lived for more than twice as long by now.
    until(lambda: len(shared.out(id, stream="both")) >= 2 * 40)
    assert shared.status(id)["stopping"] is None
    gate.touch()
    done = shared.final(id)
    assert "idle" in done["failure"]["message"]


@covers("field:idle_timeout", "method:progress")
def test_progress_keeps_a_silent_job_alive(shared):
    id = shared.submit(command=SLEEP, idle_timeout=1.5)
    shared.pid_of(id)
    began = time.monotonic()
    while time.monotonic() - began < 4:
        shared.call("progress", id=id, fraction=0.5)
        assert shared.status(id)["stopping"] is None
        time.sleep(0.05)
    assert "idle" in shared.final(id)["failure"]["message"]


@covers("field:idle_timeout")
def test_the_death_of_the_daemon_neither_stops_who_writes_nor_spares_who_does_not(jobd):
    d = jobd()
    gate, pid = d.scratch("gate"), d.scratch("pid")
    talking = d.sh(TALKS, str(pid), str(gate), idle_timeout=1.5)
    silent = d.submit(command=SLEEP, idle_timeout=1.5)
    until(lambda: pid.exists() and d.pid_of(silent))
    d.kill()
    said = d.log_dir / "output" / talking[:2] / talking / "1.stdout"
    before = said.stat().st_size
    until(lambda: said.stat().st_size > before + 2 * 20)  # longer than the silence that it may keep
    d.start()
    done = d.final(silent)
    assert (done["failure"]["kind"], done["attempt"]) == ("timeout", 1)
    assert "idle" in done["failure"]["message"]
    document = d.status(talking)
    assert (document["status"], document["stopping"]) == ("running", None)
    gate.touch()
    assert d.final(talking)["status"] == "completed"


@covers("field:idle_timeout")
@pytest.mark.parametrize("value", [0, -1, "5", True, 3155760001])
def test_an_idle_timeout_is_a_number_above_0(shared, value):
    refused = shared.refusal("submit", command=TRUE, idle_timeout=value)
    assert (refused.code, refused.fields) == (-32602, {"idle_timeout"})


@covers("method:progress", "param:progress.id", "param:progress.fraction", "param:progress.message")
def test_progress_is_shown_while_it_runs_and_kept_with_its_end(jobd):
    d = jobd()
    gate = d.gate()
    id = d.submit(command=gate.command)
    d.pid_of(id)
    assert d.status(id)["progress"] is None
    assert d.call("progress", id=id[:8], fraction=0.25) == {}
    assert d.status(id)["progress"] == {"fraction": 0.25, "message": None}
    d.call("progress", id=id, fraction=1, message="all rows")
    told = {"fraction": 1.0, "message": "all rows"}
    [listed] = d.call("list")["jobs"]
    assert listed["progress"] == told
    gate.open()
    assert d.final(id)["progress"] == told
    d.kill()
    d.start()
    assert d.status(id)["progress"] == told


@covers("method:progress")
def test_the_next_attempt_has_told_nothing_yet(jobd):
    d = jobd()
    gate, again = d.gate(), d.gate()
    id = d.sh('cat "$1"; exit 1', str(gate.path), retry_attempts=1, retry_delay=3600)
    d.pid_of(id)
    d.call("progress", id=id, fraction=0.5)
    gate.open()
    waiting = d.until_status(id, "pending_retry")
    assert waiting["progress"] == {"fraction": 0.5, "message": None}
    d.call("cancel", id=id)
    d.call("retry", id=id)
    d.pid_of(id)
    assert d.status(id)["progress"] is None
    d.call("cancel", id=id, force=True)
    assert again.path.exists()


@covers("method:progress")
def test_progress_of_a_job_that_does_not_run_is_a_conflict(shared):
    waiting = shared.submit(command=TRUE, delay=3600)
    ended = shared.run(command=TRUE)["id"]
    for id, status in ((waiting, "pending"), (ended, "completed")):
        refused = shared.refusal("progress", id=id, fraction=0.5)
        assert (refused.code, refused.data["status"]) == (-32003, status)
    assert shared.refusal("progress", id="z" * 16, fraction=0.5).code == -32002
    shared.call("cancel", id=waiting)


@covers("param:progress.fraction", "param:progress.message", "param:progress.id")
@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"fraction": 1.5}, "fraction"), ({"fraction": -1}, "fraction"),
        ({"fraction": True}, "fraction"), ({"fraction": "1"}, "fraction"), ({}, "fraction"),
        ({"fraction": 1, "message": "x" * 256}, "message"), ({"fraction": 1, "id": 5}, "id"),
    ],
)  # fmt: skip
def test_what_is_no_progress_is_refused(shared, params, field):
    refused = shared.refusal("progress", **{"id": "z" * 16, **params})
    assert (refused.code, refused.fields) == (-32602, {field})
