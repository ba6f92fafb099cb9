"""A disk that fails under the journal stops the daemon (111); what runs goes on, and is kept."""

from __future__ import annotations

import contextlib
import shutil
import subprocess

import psutil
import pytest
from outside.peer import Refused
from outside.waiting import until

covers = pytest.mark.covers


@contextlib.contextmanager
def failing(d, call, error):
    """While inside, the daemon's own calls of that kind on the newest segment fail."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed here")
    segment = max((d.state_dir / "journal").iterdir())
    tracer = subprocess.Popen(
        [strace, "-f", "-p", str(d.pid), "-P", str(segment), "-e", f"trace={call}",
         "-e", f"inject={call}:error={error}", "-o", str(d.scratch("trace"))],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        said = tracer.stderr.readline()
        if "attached" not in said:
            pytest.skip(f"nothing can be traced here: {said.strip()}")
        yield
    finally:
        tracer.terminate()
        tracer.communicate()


@pytest.mark.parametrize(
    ("call", "error"), [("write", "EIO"), ("write", "ENOSPC"), ("fdatasync", "EIO")]
)
@covers("exit:jobd 111")
def test_a_failing_disk_ends_the_daemon_and_no_job(jobd, call, error):
    d = jobd()
    gate = d.gate()
    running = d.sh('echo before; cat "$1"; echo after; exit 7', str(gate.path), retry_attempts=0)
    waiting = d.submit(command=["/bin/true"], delay=3600, request_id="kept")
    pid = d.pid_of(running)

    with failing(d, call, error):
        with pytest.raises((OSError, AssertionError, Refused)):  # no answer, whatever else
            d.submit(command=["/bin/true"], delay=3600, request_id="lost")
        assert d.ended() == 111
    assert "the journal can't be written" in d.stderr
    assert psutil.pid_exists(pid)
    gate.open()
    until(lambda: not psutil.pid_exists(pid))

    d.start()
    done = d.final(running)
    assert (done["attempt"], done["failure"]["exit_code"]) == (1, 7)
    assert d.out(running) == "before\nafter\n"
    assert d.status(waiting)["status"] == "pending"
    again = d.call("submit", command=["/bin/true"], delay=3600, request_id="lost")
    # A sync that fails leaves what was written, which may count; a write that fails leaves nothing.
    assert again["duplicate"] == (call == "fdatasync")
