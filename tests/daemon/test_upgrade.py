"""An upgrade under running jobs: the program is replaced, and nobody is told an error.

That clients notice nothing is in test_once.py; what a rehearsal finds out, in test_handover.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from outside.installation import SRC, Installation
from outside.jobs import JOBS
from outside.peer import Refused
from outside.waiting import until

from jobd.client import Client
from jobd.handover import VARIABLE, Terms

covers = pytest.mark.covers
pytestmark = pytest.mark.timeout(180)

TRUE = ["/bin/true"]


def launched(d, *argv, **env):
    """By a command line of the test's own; serves."""
    with open(d.home / "stderr", "wb") as stderr:
        d.process = subprocess.Popen(
            argv, env={**d.env, **env}, cwd=d.home, stdin=subprocess.DEVNULL,
            stdout=stderr, stderr=stderr, start_new_session=True,
        )  # fmt: skip
    until(d._serves_or_ended)
    assert d.process.poll() is None, d.stderr


@contextlib.contextmanager
def staged(early="", *, python=sys.executable, config=None):
    """Started with a directory on the path of its imports, in which tests put what goes wrong."""
    d = Installation(config)
    d.module(JOBS)
    d.site = d.home / "site"
    d.site.mkdir()
    if early:
        (d.site / "sitecustomize.py").write_text(early)
    path = os.pathsep.join([str(d.site), SRC, sysconfig.get_paths()["purelib"]])
    argv = [python, "-P", "-m", "jobd.cli.jobd", "--config", str(d.config_path), "run"]
    try:
        launched(d, *argv, PYTHONPATH=path)
        yield d
    finally:
        d.close()


def since(d, began):
    """What `ping` says once a later program than that one serves."""

    def later():
        d.forget_peer()
        with contextlib.suppress(AssertionError, OSError, Refused):  # by the one that goes
            ping = d.call("ping")
            return ping["started_at"] > began and ping
        return None

    return until(later)


def upgraded(d):
    """The same, and it was asked for as a program does."""
    with d.peer() as peer:
        began = peer.call("ping")["started_at"]
        assert peer.call("upgrade") == {}
        assert peer.closed()
    return since(d, began)


# What goes on.


class InLine(threading.Thread):
    """Waits for the lock of a state directory: who waits has it at once when it is let go."""

    def __init__(self, path):
        super().__init__()
        self._path = path
        self.served = threading.Event()
        self.start()
        number, locks = f":{path.stat().st_ino} ", Path("/proc/locks")
        until(lambda: any(number in line for line in locks.read_text().split("\n") if "->" in line))

    def run(self):
        with open(self._path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.served.set()


NEWER = """
import sys
if "jobd.cli.jobd" in sys.orig_argv:
    import jobd
    jobd.__version__ = "9.9.9"
"""


@pytest.fixture(scope="module")
def seen():
    """Of four upgrades under one job that runs all the while; the daemon is still there."""
    with staged(config={"daemon": {"on_stop": "stop"}}) as d:  # an upgrade is no stop
        daemon, gate, seen = psutil.Process(d.pid), d.gate(), SimpleNamespace(d=d)
        id = d.sh("echo before; cat $1; echo after; exit 7", str(gate.path))
        until(lambda: "before" in d.out(id))
        line = InLine(d.state_dir / "lock")
        seen.pings, seen.job_pids = [d.call("ping")], [d.pid_of(id)]

        def left():
            return daemon.num_fds(), sorted(child.pid for child in daemon.children())

        def note(ping):
            seen.pings.append(ping)
            seen.job_pids.append(d.pid_of(id))

        note(upgraded(d))
        seen.first_left = left()
        seen.limit = d.out(d.run(command=["/bin/sh", "-c", "ulimit -n"])["id"])
        note(upgraded(d))
        (d.site / "sitecustomize.py").write_text(NEWER)
        seen.newer = d.jobctl("upgrade")
        note(since(d, seen.pings[-1]["started_at"]))
        seen.same = d.jobctl("upgrade")
        note(since(d, seen.pings[-1]["started_at"]))

        with contextlib.suppress(AssertionError):  # told by what is left then
            until(lambda: left() == seen.first_left)
        seen.last_left = left()
        seen.last_limit = d.out(d.run(command=["/bin/sh", "-c", "ulimit -n"])["id"])
        seen.fds = d.out(d.run(command=["/bin/ls", "/proc/self/fd"])["id"])
        seen.environs = [
            d.run(target="jobs:facts")["result"]["env"],
            psutil.Process(d.keeper(id).pid).environ(),
        ]
        seen.second = d.jobd("run", "--config", str(d.config_path), "--socket", str(d.home / "s"))
        gate.open()
        seen.done, seen.out = d.final(id), d.out(id)
        seen.lock_was_free = line.served.is_set()
        yield seen
        d.kill()
    line.join()


@covers("method:upgrade")
def test_the_program_is_replaced_and_the_process_is_the_same(seen):
    began = [ping["started_at"] for ping in seen.pings]
    assert began == sorted(set(began))
    assert {ping["pid"] for ping in seen.pings} == {seen.d.pid}


@covers("jobctl:upgrade")
def test_the_new_version_is_told(seen):
    old = seen.pings[0]["version"]
    assert seen.newer == (0, f"upgraded: {old} → 9.9.9, pid {seen.d.pid}\n", "")
    assert seen.same == (0, f"restarted as 9.9.9, pid {seen.d.pid}\n", "")


def test_a_running_job_keeps_its_process_its_output_and_its_end(seen):
    [attempt] = seen.done["attempts"]
    assert set(seen.job_pids) == {attempt["pid"]}
    assert (attempt["attempt"], attempt["exit_code"]) == (1, 7)
    assert seen.out == "before\nafter\n"


def test_four_upgrades_leave_no_descriptor_and_no_child_behind(seen):
    assert seen.last_left == seen.first_left


def test_jobs_notice_nothing_of_what_was_handed_over(seen):
    assert seen.fds.split() == ["0", "1", "2", "3"]
    assert seen.last_limit == seen.limit
    assert not any(VARIABLE in environ for environ in seen.environs)


def test_nobody_gets_the_lock_in_between(seen):
    assert not seen.lock_was_free
    assert seen.second.code == 111
    assert f"pid {seen.d.pid}" in seen.second.err


def test_the_signal_does_the_same(seen):
    began = seen.d.call("ping")["started_at"]
    seen.d.process.send_signal(signal.SIGUSR2)
    assert since(seen.d, began)
    assert seen.d.run(command=TRUE)["status"] == "completed"


@covers("option:upgrade --json", "option:upgrade --socket")
def test_a_script_and_a_config_that_were_named_relatively_are_found_again(installation):
    d = installation()
    script = "import sys\nfrom jobd.cli.jobd import main\nsys.exit(main())\n"
    (d.home / "jobd-script").write_text(script)
    launched(d, sys.executable, "jobd-script", "run", "--config", "jobd.toml")
    began = d.call("ping")["started_at"]
    ran = d.jobctl("upgrade", "--json", "--socket", str(d.socket), env={"JOBD_SOCKET": None})
    assert (ran.code, ran.json) == (0, {})
    assert since(d, began)["config"] == str(d.config_path)
    assert d.stop() == 0
    assert not d.socket.exists()


def test_a_socket_that_the_config_moves_is_listened_on_at_its_new_place(jobd):
    d = jobd()
    old = d.socket
    d.write_config({"daemon": {"socket": str(d.home / "elsewhere" / "s")}})
    with d.peer() as peer:
        peer.call("upgrade")
        assert peer.closed()
    d.forget_peer()
    d.socket = d.home / "elsewhere" / "s"
    until(d._serves_or_ended)
    assert d.run(command=TRUE)["status"] == "completed"
    assert not old.exists()


# What is refused.


@pytest.fixture(scope="module")
def _steady():
    with staged() as d:
        yield d


@pytest.fixture
def steady(_steady):
    """A daemon whose next program the test may spoil: it is the same one that serves on."""
    began = _steady.call("ping")["started_at"]
    yield _steady
    _steady.write_config({})
    for spoiled in _steady.site.glob("*.py"):
        spoiled.unlink()
    assert _steady.call("ping")["started_at"] == began
    assert _steady.run(command=TRUE)["status"] == "completed"


@covers("method:upgrade", "error:-32602")
def test_a_config_that_would_not_start_is_refused_to_whoever_asks(steady):
    def told():
        return len([line for line in steady.log("jobd.log") if "not_upgraded" in line])

    before = told()
    steady.write_config({"daemon": {"max_runnning": 1}})
    refused = steady.refusal("upgrade")
    assert refused.code == -32602
    [fault] = refused.data["fields"]
    assert fault["field"] == "program"
    assert str(steady.config_path) in fault["message"]
    assert "max_runnning" in fault["message"]
    ran = steady.jobctl("upgrade")
    assert (ran.code, ran.out) == (7, "")
    assert fault["message"] in ran.err
    assert told() == before + 2
    steady.process.send_signal(signal.SIGUSR2)
    until(lambda: told() == before + 3)


def test_a_program_that_can_not_be_imported_is_refused(steady):
    (steady.site / "psutil.py").write_text("raise ImportError('built for another machine')")
    [fault] = steady.refusal("upgrade").data["fields"]
    assert fault["message"] == "ImportError: built for another machine"


@covers("method:upgrade")
def test_it_takes_no_parameters(steady):
    assert steady.refusal("upgrade", force=True).code == -32602


def test_an_exec_that_fails_leaves_the_old_program_serving(tmp_path):
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    early = "import os, sys\nif '--rehearse' in sys.orig_argv:\n    os.unlink(sys.executable)\n"
    with staged(early, python=str(python)) as d:
        gate = d.gate()
        id = d.submit(command=gate.command)
        pid = d.pid_of(id)
        upgraded(d)  # to itself
        why = f"not_upgraded why='{python}: No such file or directory'"
        assert why in "\n".join(d.log("jobd.log"))
        assert d.pid_of(id) == pid
        gate.open()
        assert d.final(id)["attempts"][0]["pid"] == pid
        # And now that it is gone, that is found out before.
        assert f"{python}: No such file or directory" in d.refusal("upgrade").message
        assert d.stop() == 0


# What can't be duplicated: descriptors of files with those words in their names.
FEW = """
import errno, os
def few(fd, dup=os.dup):
    if os.path.exists("few") and open("few").read() in os.readlink(f"/proc/self/fd/{fd}"):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return dup(fd)
os.dup = few
"""


@pytest.fixture(scope="module")
def poor():
    with staged(FEW) as d:
        yield d


@pytest.mark.parametrize("what", ["socket:", "/lock"])
def test_without_a_descriptor_for_what_is_handed_over_the_old_program_serves_on(poor, what):
    began, daemon = poor.call("ping")["started_at"], psutil.Process(poor.pid)
    fds = daemon.num_fds()
    (poor.home / "few").write_text(what)
    refused = poor.refusal("upgrade")
    (poor.home / "few").unlink()
    assert refused.code == -32602
    assert "Too many open files" in refused.message
    assert poor.call("ping")["started_at"] == began
    assert poor.run(command=TRUE)["status"] == "completed"
    until(lambda: daemon.num_fds() == fds)
    upgraded(poor)


def test_jobs_that_the_next_program_could_not_reach_are_not_left_to_it(jobd):
    d = jobd()
    gate = d.gate()
    id = d.submit(command=gate.command)
    pid = d.pid_of(id)
    (d.state_dir / "keeper.sock").unlink()
    refused = d.refusal("upgrade")
    assert refused.code == -32602
    assert "keeper.sock was removed" in refused.message
    assert d.pid_of(id) == pid
    gate.open()
    assert d.final(id)["attempts"][0]["pid"] == pid
    upgraded(d)
    assert d.run(command=TRUE)["status"] == "completed"


# Several at once.

# A rehearsal that notes that it was there, and then waits for its gate.
WAITING = """
import sys
if "--rehearse" in sys.orig_argv:
    open("rehearsals", "a").write("x")
    open("gate").read()
"""


@pytest.fixture(scope="module")
def broken_off():
    """What was seen of a rehearsal that two had asked for when the daemon was stopped."""

    def refusal(peer, id):
        with pytest.raises(Refused) as refused:
            peer.answer(id)
        return refused.value.code

    with staged(WAITING) as d:
        os.mkfifo(d.home / "gate")
        seen = SimpleNamespace(d=d)
        with d.peer() as one, d.peer() as two:
            asked = [(peer, peer.send("upgrade")) for peer in (one, two)]
            until((d.home / "rehearsals").exists)
            seen.ping = two.call("ping")
            seen.jobctl = d.jobctl("upgrade", "--timeout", "0.1")
            seen.code = d.stop()
            seen.refusals = [refusal(*one_asked) for one_asked in asked]
        seen.rehearsals = (d.home / "rehearsals").read_text()
        yield seen


def test_during_a_rehearsal_requests_are_served_and_who_asks_for_another_joins_it(broken_off):
    assert broken_off.ping["pid"] == broken_off.d.pid
    assert broken_off.rehearsals == "x"


@covers("option:upgrade --timeout", "exit:jobctl 124")
def test_jobctl_waits_no_longer_than_it_was_told(broken_off):
    assert (broken_off.jobctl.code, broken_off.jobctl.out) == (124, "")


def test_a_stop_breaks_off_the_rehearsal(broken_off):
    assert broken_off.code == 0
    assert broken_off.refusals == [-32005, -32005]
    until(lambda: not broken_off.d.processes())


def test_a_stop_in_the_middle_of_an_upgrade_is_heeded_by_the_next_program(jobd):
    d = jobd({"daemon": {"on_stop": "stop", "shutdown_grace": 0}})
    id = d.submit(command=["/bin/sleep", "600"])
    pid = d.pid_of(id)
    d.call("upgrade")
    assert d.stop() == 0
    assert d.stderr.count("listens on") == 2
    assert not psutil.pid_exists(pid), "its own way to stop, not the one of the upgrade"
    assert not d.socket.exists()


def test_signals_of_all_kinds_during_an_upgrade_kill_nothing(jobd):
    d = jobd()
    began = d.call("ping")["started_at"]
    d.call("upgrade")
    for _ in range(20):
        for number in (signal.SIGHUP, signal.SIGUSR2):
            d.process.send_signal(number)
    assert since(d, began)
    assert d.process.poll() is None
    with Client(str(d.socket)) as jobs:  # SIGUSR2 may have led to another one after the first
        assert jobs.submit(command=TRUE).wait(30).document["status"] == "completed"


# What the next program is told.


def test_a_handover_that_was_for_somebody_else_is_ignored(installation):
    d = installation()
    d.start(env={VARIABLE: '{"pid": 1, "lock_fd": 3, "socket": [4, 5, 6]}'})
    assert "handover_ignored" in d.stderr
    assert VARIABLE not in d.run(target="jobs:facts")["result"]["env"]


@covers("option:jobd run --rehearse")
@pytest.mark.parametrize(("version", "code"), [(1, 0), (99, 100)])
def test_a_rehearsal_ends_with_what_a_start_would_and_touches_nothing(installation, version, code):
    d = installation()
    terms = {"journal": version, "keeper": 2, "state_dir": str(d.state_dir), "socket": "s"}
    assert set(terms) == set(Terms.__slots__)
    told = json.dumps(terms)
    ran = d.jobd("run", "--config", str(d.config_path), "--rehearse", told)
    assert (ran.code, ran.out) == (code, "")
    assert ("journal is of version 99" in ran.err) == bool(code)
    assert not d.state_dir.exists()
    assert not d.socket.exists()
