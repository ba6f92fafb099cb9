"""What one image of the program gives to the next, as far as it can be seen without an exec."""

from __future__ import annotations

import json
import os
import socket
import sys

import pytest

from jobd import handover
from jobd.errors import CannotStart
from jobd.handover import VARIABLE, Handover

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


def test_what_was_handed_over_is_taken_up_once_and_inherited_by_nobody(monkeypatch, tmp_path):
    with socket.socket(socket.AF_UNIX) as sock, open(tmp_path / "lock", "w") as lock:
        named = {"pid": os.getpid(), "socket_fd": sock.fileno(), "lock_fd": lock.fileno()}
        for fd in (sock.fileno(), lock.fileno()):
            os.set_inheritable(fd, True)
        monkeypatch.setenv(VARIABLE, json.dumps(named))
        assert Handover.received() == Handover(sock.fileno(), lock.fileno())
        assert not os.get_inheritable(sock.fileno())
        assert not os.get_inheritable(lock.fileno())
        assert VARIABLE not in os.environ
        assert Handover.received() is None


def test_an_exec_that_fails_says_why_and_hands_nothing_to_children(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with socket.socket(socket.AF_UNIX) as sock, open(tmp_path / "lock", "w") as lock:
        handed = Handover(sock.fileno(), lock.fileno()).execute()
        assert handed == Handover(
            sock.fileno(), lock.fileno(), "/no/such/python: No such file or directory"
        )
        assert not os.get_inheritable(sock.fileno())
        assert not os.get_inheritable(lock.fileno())
    assert VARIABLE not in os.environ
