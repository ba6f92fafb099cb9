"""An upgrade under running jobs: the program is replaced, and nobody is told an error."""

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

import psutil
import pytest
from outside.installation import SRC
from outside.peer import Refused
from outside.waiting import until

from jobd.client import Client
from jobd.handover import VARIABLE, Terms

covers = pytest.mark.covers

TRUE = ["/bin/true"]


def upgraded(d):
    """What `ping` says once the next program serves."""
    with d.peer() as peer:
        before = peer.call("ping")
        assert peer.call("upgrade") == {}
        assert peer.closed()
    d.forget_peer()
    after = d.call("ping")
    assert after["pid"] == before["pid"] == d.pid
    assert after["started_at"] > before["started_at"]
    return after


def since(d, started_at):
    """When a later program than that one serves."""

    def later():
        d.forget_peer()
        with contextlib.suppress(AssertionError, OSError, Refused):  # by the one that goes
            return d.call("ping")["started_at"] > started_at
        return False

    return until(later)


@pytest.fixture
def staged(installation):
    """Started with a directory on the path of its imports, in which tests put what goes wrong."""

    def make(early="", *, python=sys.executable, config=None):
        d = installation(config)
        d.site = d.home / "site"
        d.site.mkdir()
        if early:
            (d.site / "sitecustomize.py").write_text(early)
        path = [str(d.site), SRC, sysconfig.get_paths()["purelib"]]
        d.argv = [python, "-P", "-m", "jobd.cli.jobd", "run", "--config", str(d.config_path)]
        with open(d.home / "stderr", "wb") as stderr:
            d.process = subprocess.Popen(
                d.argv, env={**d.env, "PYTHONPATH": os.pathsep.join(path)}, cwd=d.home,
                stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, start_new_session=True,
            )  # fmt: skip
        until(d._serves_or_ended)
        assert d.process.poll() is None, d.stderr
        return d

    return make


# A rehearsal that notes that it was there, and then waits for its gate.
WAITING = """
import sys
if "--rehearse" in sys.orig_argv:
    open("rehearsals", "a").write("x")
    open("gate").read()
"""


# What goes on.


@covers("method:upgrade", "jobctl:upgrade", "option:upgrade --json", "option:upgrade --socket")
def test_the_program_is_replaced_and_the_process_is_the_same(jobd):
    d = jobd()
    before = d.call("ping")
    ran = d.jobctl("upgrade")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"restarted as {before['version']}, pid {d.pid}\n"
    assert since(d, before["started_at"])
    assert d.run(command=TRUE)["status"] == "completed"
    ran = d.jobctl("upgrade", "--json", "--socket", str(d.socket), env={"JOBD_SOCKET": None})
    assert (ran.code, ran.json) == (0, {})
    d.forget_peer()
    assert d.stop() == 0
    assert not d.socket.exists()


@covers("method:upgrade")
def test_the_new_version_is_told(staged):
    d = staged()
    (d.site / "sitecustomize.py").write_text(
        'import sys\nif "jobd.cli.jobd" in sys.orig_argv:\n'
        '    import jobd\n    jobd.__version__ = "9.9.9"\n'
    )
    ran = d.jobctl("upgrade")
    assert ran.code == 0, ran
    assert ran.out == f"upgraded: 0.1.0 → 9.9.9, pid {d.pid}\n"


@pytest.mark.parametrize("on_stop", ["leave", "stop"])
def test_a_running_job_keeps_its_process_its_output_and_its_end(jobd, on_stop):
    d = jobd({"daemon": {"on_stop": on_stop}})
    gate = d.gate()
    id = d.sh("echo before; cat $1; echo after; exit 7", str(gate.path))
    pid = d.pid_of(id)
    until(lambda: "before" in d.out(id))
    for _ in range(2):
        upgraded(d)
        assert d.pid_of(id) == pid
    gate.open()
    done = d.final(id)
    [attempt] = done["attempts"]
    assert (attempt["attempt"], attempt["pid"], attempt["exit_code"]) == (1, pid, 7)
    assert d.out(id) == "before\nafter\n"


@pytest.mark.timeout(180)
def test_who_submits_all_the_time_notices_nothing_and_each_job_runs_once(jobd):
    d = jobd()
    tally, over, made, faults = d.scratch(), threading.Event(), [], []

    def submit():
        with Client(str(d.socket)) as jobs:
            try:
                while not over.is_set():
                    script = f"echo {len(made)} >> {tally}"
                    made.append(jobs.submit(command=["/bin/sh", "-c", script]).id)
            except Exception as fault:
                faults.append(fault)

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        for _ in range(3):
            so_far = len(made)
            upgraded(d)
            until(lambda so_far=so_far: faults or len(made) > so_far + 5)
    finally:
        over.set()
        thread.join()
    assert not faults
    assert {d.final(id)["status"] for id in made} == {"completed"}
    assert sorted(map(int, tally.read_text().split())) == list(range(len(made)))
    with Client(str(d.socket)) as jobs:
        assert sorted(job["id"] for job in jobs.list()) == sorted(made)


def test_what_waits_goes_on_waiting(jobd):
    d = jobd()
    gate, other = d.gate(), d.gate()
    first = d.sh("echo early; cat $1; echo late", str(gate.path))
    until(lambda: "early" in d.out(first))
    run = d.jobctl_started("run", "--", "/bin/sh", "-c", f"echo a; cat {other.path}; exit 9")
    wait = d.jobctl_started("wait", first)
    follow = d.jobctl_started("logs", "-f", first)
    events = d.jobctl_started("events", "--json")
    until(lambda: len(d.call("list", status="running")["jobs"]) == 2)
    assert follow.stdout.readline() == "early\n"
    upgraded(d)
    gate.open()
    assert wait.wait(30) == 0
    assert follow.communicate()[0] == "late\n"
    other.open()
    out, err = run.communicate()
    assert (run.returncode, out) == (9, "a\n"), err
    try:
        ends = []
        while len(ends) < 2:
            event = json.loads(events.stdout.readline())
            if event.get("type") in ("completed", "failed"):
                ends.append(event["id"])
        assert first in ends
    finally:
        events.kill()
        events.communicate()
        wait.communicate()


@pytest.mark.timeout(180)
def test_ten_upgrades_leave_nothing_behind(jobd):
    d = jobd()
    gate = d.gate()
    id = d.submit(command=gate.command)
    pid = d.pid_of(id)
    upgraded(d)
    daemon = psutil.Process(d.pid)
    limit = d.out(d.run(command=["/bin/sh", "-c", "ulimit -n"])["id"])
    before = (daemon.num_fds(), sorted(child.pid for child in daemon.children()))
    for _ in range(10):
        upgraded(d)
    assert (daemon.num_fds(), sorted(child.pid for child in daemon.children())) == before
    assert d.pid_of(id) == pid
    done = d.run(target="jobs:facts")
    assert VARIABLE not in done["result"]["env"]
    assert VARIABLE not in psutil.Process(d.keeper(id).pid).environ()
    assert d.out(d.run(command=["/bin/ls", "/proc/self/fd"])["id"]).split() == ["0", "1", "2", "3"]
    assert d.out(d.run(command=["/bin/sh", "-c", "ulimit -n"])["id"]) == limit
    gate.open()
    assert d.final(id)["status"] == "completed"


def test_nobody_gets_the_lock_in_between(jobd):
    d = jobd()
    over, got, tries = threading.Event(), [], [0]

    def grab():
        while not over.is_set():
            with open(d.state_dir / "lock", "rb") as file:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    got.append(tries[0])
                tries[0] += 1

    thread = threading.Thread(target=grab)
    thread.start()
    try:
        for _ in range(3):
            upgraded(d)
    finally:
        over.set()
        thread.join()
    assert tries[0] > 100
    assert not got
    second = d.jobd("run", "--config", str(d.config_path), "--socket", str(d.home / "s"))
    assert second.code == 111
    assert f"pid {d.pid}" in second.err


def test_the_signal_does_the_same(jobd):
    d = jobd()
    began = d.call("ping")["started_at"]
    d.process.send_signal(signal.SIGUSR2)
    assert since(d, began)
    assert d.run(command=TRUE)["status"] == "completed"


@pytest.mark.parametrize("way", ["script", "options first", "relative"])
def test_it_is_found_again_however_it_was_started(installation, way):
    d = installation()
    (d.home / "jobd-script").write_text(
        "import sys\nfrom jobd.cli.jobd import main\nsys.exit(main())\n"
    )
    argv = {
        "script": ["jobd-script", "run", "--config", str(d.config_path)],
        "options first": ["-P", "-m", "jobd.cli.jobd", "--config", str(d.config_path), "run"],
        "relative": ["-m", "jobd.cli.jobd", "run", "--config", "jobd.toml", "--log-level", "debug"],
    }[way]
    with open(d.home / "stderr", "wb") as stderr:
        d.process = subprocess.Popen(
            [sys.executable, *argv], env=d.env, cwd=d.home, stdin=subprocess.DEVNULL,
            stdout=stderr, stderr=stderr, start_new_session=True,
        )  # fmt: skip
    until(d._serves_or_ended)
    assert upgraded(d)["config"] == str(d.config_path)
    assert d.stop() == 0


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


def refusal(d):
    """As both callers and the log have it; the old program serves on."""
    began = d.call("ping")["started_at"]
    refused = d.refusal("upgrade")
    assert refused.code == -32602
    [fault] = refused.data["fields"]
    assert fault["field"] == "program"
    ran = d.jobctl("upgrade")
    assert (ran.code, ran.out) == (7, "")
    assert fault["message"] in ran.err
    assert len([line for line in d.log("jobd.log") if "not_upgraded" in line]) == 2
    d.process.send_signal(signal.SIGUSR2)
    until(lambda: len([line for line in d.log("jobd.log") if "not_upgraded" in line]) == 3)
    assert d.call("ping")["started_at"] == began
    assert d.run(command=TRUE)["status"] == "completed"
    return fault["message"]


@covers("method:upgrade", "error:-32602")
def test_a_config_that_would_not_start_leaves_the_old_program_serving(jobd):
    d = jobd()
    d.write_config({"daemon": {"max_runnning": 1}})
    message = refusal(d)
    assert str(d.config_path) in message
    assert "max_runnning" in message


def test_a_program_that_can_not_be_imported_leaves_the_old_one_serving(staged):
    d = staged()
    (d.site / "psutil.py").write_text("raise ImportError('built for another machine')")
    assert refusal(d) == "ImportError: built for another machine"


@pytest.mark.parametrize(("key", "name"), [("state_dir", "state2"), ("socket", "jobd.toml")])
def test_places_that_can_not_be_taken_are_found_out_before(jobd, key, name):
    d = jobd()
    d.write_config({"daemon": {key: str(d.home / name)}})
    assert name in refusal(d)
    assert not (d.home / "state2").exists()


def test_an_exec_that_fails_leaves_the_old_program_serving(staged, tmp_path):
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    d = staged(
        "import os, sys\nif '--rehearse' in sys.orig_argv:\n    os.unlink(sys.executable)\n",
        python=str(python),
    )
    gate = d.gate()
    id = d.submit(command=gate.command)
    pid = d.pid_of(id)
    upgraded(d)  # to itself
    assert f"not_upgraded why='{python}: No such file or directory'" in "\n".join(d.log("jobd.log"))
    assert d.pid_of(id) == pid
    gate.open()
    assert d.final(id)["attempts"][0]["pid"] == pid
    # And now that it is gone, that is found out before.
    assert f"{python}: No such file or directory" in d.refusal("upgrade").message
    assert d.stop() == 0


@covers("method:upgrade")
def test_it_takes_no_parameters(shared):
    assert shared.refusal("upgrade", force=True).code == -32602


# Several at once.


def test_two_that_ask_at_once_join_one_rehearsal(staged):
    d = staged(WAITING)
    os.mkfifo(d.home / "gate")
    with d.peer() as one, d.peer() as two:
        asked = [(peer, peer.send("upgrade")) for peer in (one, two)]
        until(lambda: (d.home / "rehearsals").exists())
        assert two.call("ping")["pid"] == d.pid, "it serves meanwhile"
        (d.home / "gate").write_text("")
        assert [peer.answer(id) for peer, id in asked] == [{}, {}]
    assert (d.home / "rehearsals").read_text() == "x"


@covers("option:upgrade --timeout", "exit:jobctl 124")
def test_jobctl_waits_no_longer_than_it_was_told(staged):
    d = staged(WAITING)
    os.mkfifo(d.home / "gate")
    ran = d.jobctl("upgrade", "--timeout", "0.1")
    assert (ran.code, ran.out) == (124, "")
    assert d.call("ping")["pid"] == d.pid


def test_a_stop_breaks_off_the_rehearsal(staged):
    d = staged(WAITING)
    os.mkfifo(d.home / "gate")
    with d.peer() as peer:
        asked = peer.send("upgrade")
        until(lambda: (d.home / "rehearsals").exists())
        assert d.stop() == 0
        with pytest.raises(Refused) as refused:
            peer.answer(asked)
        assert refused.value.code == -32005
    until(lambda: not [pid for pid in d.processes() if pid != os.getpid()])


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


@pytest.mark.parametrize(
    "told",
    ["", "nonsense", "[1]", '{"pid": 1, "lock_fd": 3, "socket_fd": 4}',
     '{"pid": "PID", "lock_fd": 77, "socket_fd": 78}', '{"pid": "PID", "lock_fd": 1}',
     '{"pid": "PID", "lock_fd": "3", "socket_fd": null}'],
)  # fmt: skip
def test_a_handover_that_was_for_somebody_else_is_ignored(installation, told):
    d = installation()
    script = 'v=$(echo "$1" | sed "s/\\"PID\\"/$$/"); shift; export JOBD_HANDOVER="$v"; exec "$@"'
    d.spawn(under=("/bin/sh", "-c", script, "sh", told))
    until(d._serves_or_ended)
    assert d.process.poll() is None, d.stderr
    assert "handover_ignored" in d.stderr
    assert VARIABLE not in d.run(target="jobs:facts")["result"]["env"]


@covers("option:jobd run --rehearse")
@pytest.mark.parametrize(
    ("change", "says"),
    [({}, ""), ({"journal": 99}, "journal is of version 99"), ({"keeper": 99}, "speaks 99"),
     ({"state_dir": "/elsewhere"}, "/elsewhere"), ({"journal": None}, "no terms")],
)  # fmt: skip
def test_a_rehearsal_says_whether_it_could_follow_and_touches_nothing(installation, change, says):
    d = installation()
    terms = {"journal": 1, "keeper": 1, "state_dir": str(d.state_dir), "socket": str(d.socket)}
    assert set(terms) == set(Terms.__slots__)
    told = json.dumps({**terms, **change, "of a later release": True})
    ran = d.jobd("run", "--config", str(d.config_path), "--rehearse", told)
    assert (ran.code, ran.out) == (100 if says else 0, "")
    assert says in ran.err
    assert not d.state_dir.exists()
    assert not d.socket.exists()
