"""What one image of the program gives to the next, as far as it can be seen without an exec."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys

import anyio.to_thread
import pytest
from outside.waiting import until

from jobd import config, handover
from jobd.core import records
from jobd.errors import CannotStart
from jobd.handover import VARIABLE, Handover, Successor, Terms
from jobd.keeper import protocol
from jobd.rpc.transport import Kept

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def rehearsed(script):
    await handover._rehearsed(sys.executable, [sys.executable, "-I", "-S", "-c", script])


async def test_a_rehearsal_that_goes_well_says_nothing():
    await rehearsed("print('some words')")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("import sys; sys.exit('jobd: no such key')", "no such key"),
        ("raise OSError('torn')", "OSError: torn"),
        ("import sys; sys.exit(3)", "it ends with 3 and says nothing"),
        ("import os; os.kill(os.getpid(), 9)", "it ends with -9 and says nothing"),
        ("import sys; sys.exit('x' * 100_000)", "x" * 2000),
        ("import os; os.write(2, b'\\xff\\n\\n'); os._exit(1)", "\\xff"),
    ],
)
async def test_a_rehearsal_that_fails_is_told_by_its_last_line(script, says):
    with pytest.raises(CannotStart) as refused:
        await rehearsed(script)
    assert str(refused.value) == says


async def test_a_rehearsal_that_hangs_is_ended(monkeypatch, tmp_path):
    monkeypatch.setattr(handover, "REHEARSAL_S", 0.5)
    pid = tmp_path / "pid"
    with pytest.raises(CannotStart, match="not ready within"):
        await rehearsed(f"import os, time; open({str(pid)!r}, 'w').write('x'); time.sleep(600)")


async def test_a_program_that_is_not_there_is_told():
    with pytest.raises(CannotStart, match="/no/such/python: No such file"):
        await handover._rehearsed("/no/such/python", ["python"])


async def test_who_asks_while_a_rehearsal_is_under_way_joins_it(monkeypatch, tmp_path):
    gate, noted = tmp_path / "gate", tmp_path / "noted"
    os.mkfifo(gate)
    script = f"open({str(noted)!r}, 'a').write('x'); open({str(gate)!r}).read()"
    monkeypatch.setattr(sys, "orig_argv", ["python", "-I", "-S", "-c", script])
    successor = Successor(Terms(1, 1, "", ""))
    both = asyncio.gather(successor.rehearse(), successor.rehearse())
    await anyio.to_thread.run_sync(until, noted.exists)
    await anyio.to_thread.run_sync(gate.write_text, "")
    await both
    assert noted.read_text() == "x"


@pytest.fixture
def rehearse(tmp_path):
    """In this process, by a config and by the terms of the daemon that runs, both changed so."""

    def rehearse(daemon, changed):
        places = {"socket": "s", "state_dir": "state", "log_dir": "logs"}
        places = {name: str(tmp_path / place) for name, place in places.items()}
        path = tmp_path / "jobd.toml"
        lines = [f"{key} = {json.dumps(at)}\n" for key, at in {**places, **daemon}.items()]
        path.write_text("[daemon]\n" + "".join(lines))
        terms = {
            "journal": records.VERSION, "keeper": protocol.VERSION,
            "state_dir": places["state_dir"], "socket": places["socket"],
        }  # fmt: skip
        handover.rehearse(config.load(path), json.dumps({**terms, **changed}))

    return rehearse


def test_a_program_that_can_follow_finds_nothing_amiss_and_makes_nothing(rehearse, tmp_path):
    rehearse({}, {"of a later release": True})
    rehearse({"socket": str(tmp_path / "elsewhere" / "s")}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["jobd.toml"]


@pytest.mark.parametrize(
    ("daemon", "changed", "says"),
    [
        ({}, {"journal": 99}, "journal is of version 99"),
        ({}, {"keeper": 99}, "speaks 99"),
        ({}, {"journal": None}, "no terms"),
        ({"state_dir": "/elsewhere"}, {}, "would become /elsewhere"),
        ({"socket": "/dev/null"}, {}, "/dev/null"),
        ({"log_dir": "/dev/null/logs"}, {}, "/dev/null can't be written"),
    ],
)
def test_a_program_that_can_not_follow_says_why(rehearse, daemon, changed, says):
    with pytest.raises(CannotStart, match=says):
        rehearse(daemon, changed)


@pytest.mark.parametrize(
    "told",
    ["", "nonsense", "[1]", "[" * 100_000, '{"pid": 1, "lock_fd": 3, "socket": [4, 5, 6]}',
     '{"pid": "PID", "lock_fd": 100077, "socket": [100078, 5, 6]}', '{"pid": "PID", "lock_fd": 1}',
     '{"pid": "PID", "lock_fd": 1, "socket": null}',
     '{"pid": "PID", "lock_fd": "3", "socket": null}',
     '{"pid": "PID", "lock_fd": 1%s, "socket": null}' % ("0" * 30),
     '{"pid": "PID", "lock_fd": LOCK, "socket": [1%s, 5, 6]}' % ("0" * 30),
     '{"pid": "PID", "lock_fd": LOCK, "socket": 4}',
     '{"pid": "PID", "lock_fd": LOCK, "socket": [4]}'],
)  # fmt: skip
def test_a_handover_that_was_for_somebody_else_is_ignored(monkeypatch, caplog, tmp_path, told):
    with open(tmp_path / "lock", "w") as lock:
        told = told.replace('"PID"', str(os.getpid())).replace("LOCK", str(lock.fileno()))
        monkeypatch.setenv(VARIABLE, told)
        assert Handover.received() is None
    assert VARIABLE not in os.environ
    assert "handover_ignored" in caplog.text


def test_what_was_handed_over_is_taken_up_once_and_inherited_by_nobody(monkeypatch, tmp_path):
    with socket.socket(socket.AF_UNIX) as sock, open(tmp_path / "lock", "w") as lock:
        kept = Kept(sock.fileno(), 5, 6)
        named = {"pid": os.getpid(), "socket": kept, "lock_fd": lock.fileno()}
        for fd in (sock.fileno(), lock.fileno()):
            os.set_inheritable(fd, True)
        monkeypatch.setenv(VARIABLE, json.dumps(named))
        assert Handover.received() == Handover(kept, lock.fileno())
        assert not os.get_inheritable(sock.fileno())
        assert not os.get_inheritable(lock.fileno())
        assert VARIABLE not in os.environ
        assert Handover.received() is None


def test_an_exec_that_fails_says_why_and_hands_nothing_to_children(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with socket.socket(socket.AF_UNIX) as sock, open(tmp_path / "lock", "w") as lock:
        kept = Kept(sock.fileno(), 5, 6)
        handed = Handover(kept, lock.fileno()).execute()
        why = "/no/such/python: No such file or directory"
        assert handed == Handover(kept, lock.fileno(), why)
        assert not os.get_inheritable(sock.fileno())
        assert not os.get_inheritable(lock.fileno())
    assert VARIABLE not in os.environ
