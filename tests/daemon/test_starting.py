"""What a daemon refuses to start on: one line that says what to do, and nothing touched."""

from __future__ import annotations

import os
import shutil
import signal
import socket

import pytest
from outside.installation import Installation
from outside.waiting import until

covers = pytest.mark.covers


def files(path):
    """With what they hold and when they changed; but for the lock, which names its last holder."""
    return {
        p: (p.read_bytes() if p.is_file() else None, p.lstat().st_mtime_ns)
        for p in sorted(path.rglob("*"))
        if p.name != "lock"
    }


def refusal(d, code):
    """The one line."""
    assert d.spawn().wait(30) == code, d.stderr
    [line] = d.stderr.splitlines()
    assert line.startswith("jobd: ")
    return line


def segment(d):
    [path] = (d.state_dir / "journal").iterdir()
    return path


@pytest.fixture(scope="module")
def six():
    """A state directory with six jobs in its journal, and their ids."""
    d = Installation()
    try:
        d.start()
        ids = [d.submit(command=["/bin/true"], delay=3600) for _ in range(6)]
        assert d.stop() == 0
        until(lambda: not d.processes())
        yield d.state_dir, ids
    finally:
        d.close()


@pytest.fixture
def stopped(installation, six):
    """With such a journal."""
    d = installation()
    state_dir, d.ids = six
    shutil.copytree(state_dir, d.state_dir, ignore=shutil.ignore_patterns("*.sock"))
    return d


@covers("exit:jobd 100")
def test_a_state_directory_that_is_not_jobds_is_100_and_not_touched(installation):
    d = installation()
    d.state_dir.mkdir()
    (d.state_dir / "thesis.txt").write_text("mine")
    (d.state_dir / "journal").mkdir()
    before = files(d.state_dir)
    assert str(d.state_dir) in refusal(d, 100)
    assert files(d.state_dir) == before


@covers("exit:jobd 100")
def test_a_state_directory_that_is_a_file_is_100(installation):
    d = installation()
    d.state_dir.write_text("mine")
    line = refusal(d, 100)
    assert str(d.state_dir) in line
    assert d.state_dir.read_text() == "mine"


@covers("exit:jobd 100")
@pytest.mark.parametrize("damage", ["flip", "cut a line out"])
def test_a_damaged_journal_is_100_names_file_line_and_offset_and_nothing_is_changed(
    stopped, damage
):
    path = segment(stopped)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) > 5
    bad = 3
    if damage == "flip":
        lines[bad] = lines[bad].replace(b"true", b"trUe", 1)
    else:
        del lines[bad]
    path.write_bytes(b"".join(lines))
    before = files(stopped.state_dir)
    line = refusal(stopped, 100)
    offset = sum(map(len, lines[:bad]))
    assert str(path) in line
    assert f"{bad + 1}" in line.split(path.name, 1)[1]
    assert str(offset) in line
    assert files(stopped.state_dir) == before


def test_not_even_the_lock_of_a_damaged_journal_is_changed(stopped):
    path = segment(stopped)
    path.write_bytes(path.read_bytes().replace(b"true", b"trUe", 1))
    lock = stopped.state_dir / "lock"
    before = lock.read_bytes()
    refusal(stopped, 100)
    assert lock.read_bytes() == before


@covers("jobd:run")
@pytest.mark.parametrize("torn", ["all but the newline", "garbage"])
def test_a_torn_end_is_dropped_with_a_warning(stopped, torn):
    path = segment(stopped)
    content = path.read_bytes()
    if torn == "garbage":
        path.write_bytes(content + b"\0\xff{half a comm")
        kept = 6
    else:
        path.write_bytes(content[:-1])
        kept = 5
    stopped.start()
    ids = [job["id"] for job in stopped.call("list")["jobs"]]
    assert ids == stopped.ids[:kept][::-1]
    said = stopped.stderr + "\n".join(stopped.log("jobd.log"))
    assert "WARNING" in said
    assert path.name in said
    assert stopped.run(command=["/bin/true"])["status"] == "completed"


@covers("exit:jobd 100", "exit:jobd 111")
@pytest.mark.parametrize(
    "what", ["a file", "a directory", "too long", "writable by others", "no directory"]
)
def test_a_socket_path_that_can_not_be_used_is_one_line_and_nothing_is_touched(installation, what):
    d = installation()
    run = d.home / "run"
    match what:
        case "a file":
            run.mkdir(mode=0o700)
            d.socket.write_text("mine")
        case "a directory":
            d.socket.mkdir(parents=True, mode=0o700)
        case "too long":
            d.socket = run / ("x" * 120)
        case "writable by others":
            run.mkdir()
            run.chmod(0o777)
        case "no directory":
            run.write_text("mine")
    d.write_config({})
    before = files(d.home)
    line = refusal(d, 100)
    assert str(d.socket) in line or str(run) in line
    after = files(d.home)
    after.pop(d.home / "stderr")
    before.pop(d.home / "stderr", None)
    assert after == before
    assert not d.state_dir.exists()


@covers("exit:jobd 111")
def test_a_socket_that_somebody_answers_on_is_111(installation):
    d = installation()
    d.socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(d.socket))
        other.listen()
        assert str(d.socket) in refusal(d, 111)
        assert d.socket.is_socket()
    assert not d.state_dir.exists()


def test_a_socket_that_nobody_answers_on_is_replaced(installation):
    d = installation()
    d.socket.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(d.socket))
    d.start()
    assert os.stat(d.socket).st_mode & 0o777 == 0o600


@covers("config:daemon.log_dir")
def test_a_log_dir_that_can_not_be_used_is_one_line(installation):
    d = installation()
    d.log_dir.write_text("mine")
    assert d.spawn().wait(30) in (100, 111)
    assert len(d.stderr.splitlines()) == 1
    assert str(d.log_dir) in d.stderr


def test_a_journal_of_a_newer_version_is_told_apart_from_damage(stopped):
    """The header says so; what follows is not looked at."""
    import json
    import zlib

    path = segment(stopped)
    head, _, rest = path.read_bytes().partition(b"\n")
    header = json.loads(head)
    del header["crc"]
    header["version"] = 999
    body = json.dumps(header, separators=(",", ":"))[1:]
    crc = f"{zlib.crc32(body.encode()):08x}"
    path.write_bytes(b'{"crc":"' + crc.encode() + b'",' + body.encode() + b"\n" + rest)
    line = refusal(stopped, 100)
    assert "999" in line
    assert "damage" not in line


@covers("exit:jobd 0")
def test_a_signal_during_the_start_is_heeded_when_there_is_something_to_stop(stopped):
    process = stopped.spawn()
    until((stopped.log_dir / "jobd.log").exists)  # its parts are being put together
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert stopped.ended() == 0
    assert stopped.start().status(stopped.ids[0])["status"] == "pending"
