"""A full disk: new jobs are refused, what runs goes on, and its outcome is kept."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from outside.peer import Refused
from outside.waiting import until

covers = pytest.mark.covers

IN_A_SMALL_DISK = 'mount -t tmpfs -o size=24m,mode=700 none "$0" && exec "$@"'


@pytest.fixture
def small(installation):
    """A daemon whose state directory is a file system of 24 MiB, in a namespace of its own."""
    d = installation({"journal": {"segment_bytes": "64KiB"}})
    d.state_dir.mkdir(mode=0o700)
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed here")
    under = (unshare, "-r", "-m", "/bin/sh", "-c", IN_A_SMALL_DISK, str(d.state_dir))
    if subprocess.run([*under, "/bin/true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    d.spawn(under=under)
    until(d._serves_or_ended)
    assert d.process.poll() is None, d.stderr
    d.disk = Path("/proc", str(d.pid), "root", *d.state_dir.parts[1:])
    return d


def fill(d):
    """Somebody else takes all the room there is."""
    with (d.disk / "filler").open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2


@covers("error:-32006", "exit:jobctl 7")
def test_without_room_a_submission_is_refused_and_nothing_acknowledged(small):
    kept = small.submit(command=["/bin/true"], delay=3600)
    fill(small)
    refused = None
    for _ in range(300):
        try:
            small.submit(command=["/bin/true", "x" * 100_000], delay=3600)
        except Refused as why:
            refused = why
            break
    assert refused is not None, "a full disk holds no more than that"
    assert (refused.code, refused.data["type"]) == (-32006, "storage")
    count = small.call("stats")["jobs"]["pending"]
    assert small.jobctl("submit", "--", "/bin/true", "x" * 100_000).code == 7
    assert small.call("stats")["jobs"]["pending"] == count
    (small.disk / "filler").unlink()
    assert small.status(kept)["status"] == "pending"
    assert small.submit(command=["/bin/true"], delay=3600)


@covers("error:-32006")
def test_on_a_full_disk_running_jobs_go_on_and_their_outcomes_are_kept(small):
    gates = [small.gate() for _ in range(3)]
    ids = [small.sh('cat "$1"; exit 7', str(gate.path)) for gate in gates]
    for id in ids:
        small.pid_of(id)
    fill(small)
    for gate in gates:
        gate.open()
    for id in ids:
        done = small.final(id)
        assert (done["status"], done["failure"]["exit_code"]) == ("failed", 7)
    assert small.process.poll() is None


def test_an_attempt_that_lacks_room_waits_and_is_started_once(small):
    """There is room for its outcome, and for nothing else."""
    path = small.scratch()
    small.call("drain")
    id = small.sh('echo x >>"$1"', str(path))
    fill(small)
    with (small.disk / "filler").open("r+b") as file:
        file.truncate(file.seek(0, 2) - 4096)
    small.call("drain", off=True)
    small.until_status(id, "running", "completed")
    until(lambda: any(f"no_room id={id}" in line for line in small.log("jobd.log")))
    (small.disk / "filler").unlink()
    done = small.final(id)
    assert (done["status"], done["attempt"]) == ("completed", 1)
    assert path.read_text() == "x\n"
