"""The daemon itself: drain, reload, shutdown, signals."""

from __future__ import annotations

import signal

import pytest
from outside.waiting import until

covers = pytest.mark.covers


@covers("method:drain", "param:drain.timeout", "param:drain.off")
def test_a_draining_daemon_starts_nothing_and_stores_all(jobd):
    d = jobd()
    gate = d.gate()
    running = d.submit(command=gate.command)
    d.until_status(running, "running")
    assert d.call("drain", timeout=0) == {"running": 1}
    waiting = d.submit(command=["/bin/true"])
    assert d.call("drain", timeout=0.1) == {"running": 1}
    with d.peer() as peer:
        asked = peer.send("drain")
        d.call("ping")
        assert not peer.answered(asked)
        gate.open()
        assert peer.answer(asked) == {"running": 0}
    assert d.status(waiting)["status"] == "pending"
    assert d.status(running)["status"] == "completed"
    d.call("drain", off=True)
    assert d.final(waiting)["status"] == "completed"


@covers("method:drain")
def test_a_drain_ends_with_this_daemon(jobd):
    d = jobd()
    assert d.call("drain") == {"running": 0}
    id = d.submit(command=["/bin/true"])
    d.kill()
    d.start()
    assert d.final(id)["status"] == "completed"


@covers("param:drain.timeout", "param:drain.off")
@pytest.mark.parametrize("params", [{"timeout": -1}, {"timeout": True}, {"off": 1}, {"colour": 1}])
def test_drain_refuses_what_it_does_not_know(shared, params):
    assert shared.refusal("drain", **params).code == -32602


@covers("method:reload", "config:daemon.max_running")
def test_reload_names_the_keys_that_took_effect_and_those_that_need_a_restart(jobd):
    d = jobd({"daemon": {"max_running": 1}})
    gate = d.gate()
    first, second = (d.submit(command=gate.command) for _ in range(2))
    d.until_status(first, "running")
    assert d.call("reload") == {"changed": [], "restart": []}
    d.write_config({
        "daemon": {"max_running": 2, "socket": str(d.home / "other.sock")},
        "journal": {"fsync": "never"}, "defaults": {"priority": 4},
    })  # fmt: skip
    answer = d.call("reload")
    assert sorted(answer["changed"]) == ["daemon.max_running", "defaults.priority"]
    assert sorted(answer["restart"]) == ["daemon.socket", "journal.fsync"]
    d.until_status(second, "running")
    gate.open()
    assert d.run(command=["/bin/true"])["priority"] == 4
    assert d.status(first)["priority"] == 1, "policy is resolved at submission and stored"


@covers("method:reload", "error:-32602")
def test_a_bad_config_is_refused_and_the_old_one_stays(jobd):
    d = jobd({"defaults": {"priority": 3}})
    for bad in ({"defaults": {"priority": 11}, "daemon": {"max_runnnig": 1}},):
        d.write_config(bad)
        refused = d.refusal("reload")
        assert (refused.code, refused.data["type"]) == (-32602, "invalid_params")
        assert refused.fields == {"defaults.priority", "daemon.max_runnnig"}
    d.config_path.write_text("this is no TOML")
    assert d.refusal("reload").code == -32602
    d.config_path.unlink()
    assert d.refusal("reload").code == -32602
    assert d.run(command=["/bin/true"])["priority"] == 3


@covers("method:reload")
def test_a_reload_that_disallows_refuses_what_waits(jobd):
    d = jobd()
    id = d.submit(command=["/bin/true"], delay=0.5)
    d.write_config({"allow": {"commands": []}})
    assert "allow.commands" in d.call("reload")["changed"]
    done = d.final(id)
    assert (done["status"], done["failure"]["kind"], done["attempt"]) == (
        "failed",
        "unauthorized",
        0,
    )
    assert any("Unauthorized job execution attempt" in line for line in d.log_of(id))


@covers("method:shutdown", "param:shutdown.drain", "exit:jobd 0")
@pytest.mark.parametrize("params", [{}, {"drain": True}, {"drain": False}])
def test_shutdown_stops_the_daemon_with_0(jobd, params):
    d = jobd({"daemon": {"shutdown_grace": 0 if params != {"drain": False} else 3600}})
    gate = d.gate()
    id = d.submit(command=gate.command)
    pid = d.pid_of(id)
    assert d.call("shutdown", **params) == {}
    assert d.ended() == 0
    assert not d.socket.exists()
    d.start()
    assert d.pid_of(id) == pid
    gate.open()


@covers("param:shutdown.drain")
def test_shutdown_refuses_what_it_does_not_know(shared):
    assert shared.refusal("shutdown", drain=1).code == -32602
    assert shared.refusal("shutdown", colour=1).code == -32602


@covers("exit:jobd 0")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_daemon_with_0(jobd, number):
    d = jobd()
    assert d.stop(number) == 0


@covers("config:daemon.shutdown_grace")
def test_requests_are_served_to_the_end(jobd):
    d = jobd({"daemon": {"shutdown_grace": 3600}})
    gate = d.gate()
    running = d.submit(command=gate.command)
    d.until_status(running, "running")
    with d.peer() as peer:
        waits = peer.send("wait", {"ids": [running]})
        d.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in "\n".join(d.log("jobd.log")))
        assert d.call("ping")["name"] == "jobd"
        id = d.submit(command=["/bin/true"])
        assert d.status(id)["status"] == "pending"
        gate.open()
        assert peer.answer(waits)["jobs"][0]["status"] == "completed"
    assert d.ended() == 0
    assert d.start().final(id)["status"] == "completed"


def test_a_wait_that_the_stop_cuts_short_may_be_repeated(jobd):
    """-32005 or a closed connection, never a wrong answer."""
    d = jobd()
    id = d.submit(command=["/bin/true"], delay=3600)
    with d.peer() as peer:
        peer.send("wait", {"ids": [id]})
        d.call("ping")
        d.process.terminate()
        line = peer.line()
        assert line is None or b"-32005" in line
    assert d.ended() == 0


def test_hangup_is_reload_and_reopens_the_logs(jobd):
    d = jobd()
    d.run(command=["/bin/true"])
    names = ("background_jobs.log", "background_jobs_errors.log", "jobd.log")
    for name in names:
        (d.log_dir / name).rename(d.log_dir / f"{name}.moved")
    d.write_config({"defaults": {"priority": 7}})
    d.process.send_signal(signal.SIGHUP)
    until((d.log_dir / "jobd.log").exists)
    done = until(lambda: (job := d.run(command=["/bin/false"]))["priority"] == 7 and job)
    assert d.log_of(done["id"])
    assert d.log_of(done["id"], "background_jobs_errors.log")
    assert not any(done["id"] in line for line in d.log("background_jobs.log.moved"))


def test_hangup_with_a_bad_config_keeps_the_old_one(jobd):
    d = jobd({"defaults": {"priority": 3}})
    d.write_config({"defaults": {"priority": 99}})
    d.process.send_signal(signal.SIGHUP)
    until(lambda: any("defaults.priority" in line for line in d.log("jobd.log")))
    assert d.run(command=["/bin/true"])["priority"] == 3


@covers("config:retention.completed", "config:retention.failed", "config:retention.cancelled")
def test_nothing_is_removed_within_10_minutes_of_its_end(jobd):
    d = jobd({"retention": {"completed": 0, "failed": 0, "cancelled": 0, "max_jobs": 0}})
    ids = [d.run(command=[program])["id"] for program in ("/bin/true", "/bin/false")]
    waiting = d.submit(command=["/bin/true"], delay=3600)
    d.call("cancel", id=waiting)
    d.kill()
    d.start()
    d.run(command=["/bin/true"])
    for id in (*ids, waiting):
        assert d.status(id)["id"] == id


@covers("config:daemon.max_interruptions", "method:reload")
def test_every_reload_answers_alike_until_the_restart(jobd):
    d = jobd()
    d.write_config({"journal": {"segment_bytes": "1MiB"}})
    for _ in range(2):
        assert d.call("reload") == {"changed": [], "restart": ["journal.segment_bytes"]}
    d.stop()
    d.start()
    assert d.call("reload") == {"changed": [], "restart": []}
