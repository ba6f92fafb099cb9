"""The keeper's eye on outputs, in this process: what it sees, when it looks, what it cuts."""

import errno
import os
import select
import sys
import time

import pytest

from jobd import linux
from jobd.keeper import order
from jobd.keeper.outputs import REST_S, Outputs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="as Linux does it")

KEY = ("job0000000000001", 1)
KIB = 1024
LIMIT_S = 10


class Watching:
    """An attempt whose two streams the test writes, and the keeper's loop in turns."""

    def __init__(self, home):
        self.complaints = []
        self.outputs = Outputs(self.complaints.append)
        self.paths = [home / f"1.{end}" for end in ("stdout", "stderr", "order")]
        self.out, self.err = (path.open("ab", buffering=0) for path in self.paths[:2])

    def begin(self, output_max=None, *, order=True, pid=None):
        launch = {
            "id": KEY[0], "attempt": KEY[1], "output_max": output_max,
            "order": str(self.paths[2]) if order else None,
            "stdout": str(self.paths[0]), "stderr": str(self.paths[1]),
        }  # fmt: skip
        self.outputs.begin(launch, pid or os.getpid(), [self.out.fileno(), self.err.fileno()])

    def wait(self, limit_ms=None):
        """One turn of the keeper's loop: how long it would have slept, and what woke it."""
        poll = select.poll()
        wait_ms = self.outputs.register(poll, limit_ms)
        ready = {fd for fd, _ in poll.poll(wait_ms)}
        self.outputs.look(ready)
        return wait_ms, ready

    def settle(self):
        """Until there is nothing left to see."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            poll = select.poll()
            wait_ms = self.outputs.register(poll, None)
            if wait_ms is None and not poll.poll(0):
                return
            self.wait(1000)
        raise AssertionError("it never comes to rest")

    def turns(self):
        return list(order.read(self.paths[2]))

    def left(self, path=None):
        return (path or self.paths[0]).stat().st_blocks * 512

    def end(self):
        self.outputs.end(KEY)

    def close(self):
        self.out.close()
        self.err.close()
        if self.outputs._inotify is not None:
            self.outputs._inotify.close()


@pytest.fixture
def watching(tmp_path):
    watching = Watching(tmp_path)
    yield watching
    watching.close()


def test_the_order_has_a_record_for_each_change_of_the_stream(watching):
    watching.begin()
    for file, content in (
        (watching.err, b"e1"), (watching.err, b"e2"), (watching.out, b"out"), (watching.err, b"e3"),
    ):  # fmt: skip
        file.write(content)
        watching.settle()
    watching.end()
    assert watching.turns() == [(1, 4), (0, 3)]


def test_what_was_written_at_once_is_in_the_order_of_the_first_write(watching):
    watching.begin()
    watching.err.write(b"first")
    watching.out.write(b"second")
    watching.settle()
    assert watching.turns() == [(1, 5)]


def test_so_is_what_is_seen_only_at_the_end(watching):
    watching.begin()
    watching.err.write(b"first")
    watching.out.write(b"second")
    watching.end()
    assert watching.turns() == [(1, 5)]


def test_what_was_written_before_the_watch_is_seen(watching):
    watching.err.write(b"early")
    watching.begin()
    watching.settle()
    watching.out.write(b"later")
    watching.settle()
    assert watching.turns() == [(1, 5)]


@pytest.mark.parametrize("stream", ["out", "err"])
def test_of_a_single_stream_nothing_is_noted(watching, stream):
    watching.begin()
    for _ in range(3):
        getattr(watching, stream).write(b"x")
        watching.settle()
    watching.end()
    assert not watching.paths[2].exists()


def test_nobody_is_looked_at_who_asks_for_nothing(watching):
    watching.begin(order=False)
    watching.out.write(b"x")
    assert watching.wait(50) == (50, set())
    watching.end()


def test_the_keeper_sleeps_while_nothing_is_written(watching):
    watching.begin(64 * KIB)
    watching.out.write(b"x")
    watching.settle()
    poll = select.poll()
    assert watching.outputs.register(poll, None) is None, "without a limit"
    assert not poll.poll(0)


def test_after_a_look_it_rests_whatever_is_written(watching):
    watching.begin(64 * KIB)
    watching.out.write(b"x")
    while not watching.outputs._looked_at:
        watching.wait(1000)
    looked_at = watching.outputs._looked_at
    while watching.outputs._looked_at == looked_at:
        watching.out.write(b"x" * KIB)
        watching.wait(1000)
    assert watching.outputs._looked_at - looked_at >= REST_S


def test_head_and_tail_stay_again_and_again(watching):
    watching.begin(64 * KIB)
    wrote = b""
    for number in range(40):
        block = b"%07d\n" % number * 8 * KIB
        watching.out.write(block)
        wrote += block
        watching.settle()
        assert watching.left() <= (64 + 256 + 64 + 8) * KIB, "bound, slack, a write, two blocks"
    watching.end()
    content = watching.paths[0].read_bytes()
    assert watching.left() <= 72 * KIB
    assert len(content) == len(wrote)
    assert content[: 32 * KIB] == wrote[: 32 * KIB]
    assert content[-32 * KIB :] == wrote[-32 * KIB :]
    assert set(content[40 * KIB : -40 * KIB]) == {0}


@pytest.mark.parametrize("size", [0, 1, 4096, 64 * KIB - 1, 64 * KIB])
def test_what_is_within_the_bound_stays_whole(watching, size):
    watching.begin(64 * KIB)
    content = os.urandom(size)
    watching.out.write(content)
    watching.settle()
    watching.end()
    assert watching.paths[0].read_bytes() == content


def test_the_smallest_bound_keeps_a_block_at_each_end(watching):
    watching.begin(1)
    watching.out.write(b"x" * KIB * KIB)
    watching.end()
    assert 0 < watching.left() <= 3 * 4 * KIB


def test_a_truncated_stream_is_bounded_anew(watching):
    watching.begin(64 * KIB)
    for _ in range(2):
        watching.out.write(b"x" * 10 * KIB * KIB)
        watching.settle()
        watching.out.truncate(0)
        watching.out.write(b"begin\n")
        watching.settle()
    watching.out.write(b"y" * KIB * KIB)
    watching.end()
    assert watching.paths[0].read_bytes().startswith(b"begin\nyyy")
    assert watching.left() <= 72 * KIB


def test_a_stream_that_was_extended_without_content_is_survived(watching):
    watching.begin(64 * KIB)
    watching.out.truncate(1 << 40)
    watching.out.write(b"end\n")
    watching.settle()
    watching.end()
    assert watching.left() <= 72 * KIB


def test_a_file_that_was_put_in_place_of_the_output_is_left_alone(watching, tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"x" * KIB * KIB)
    watching.begin(64 * KIB)
    watching.paths[0].unlink()
    watching.paths[0].symlink_to(precious)
    watching.paths[1].unlink()
    watching.paths[1].hardlink_to(precious)
    for file in (watching.out, watching.err):
        file.write(b"y" * KIB * KIB)
    watching.settle()
    watching.end()
    assert precious.read_bytes() == b"x" * KIB * KIB


def test_output_that_was_removed_is_bounded_while_the_job_runs(watching):
    """By the descriptor of its main process, where that still has it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(watching.out.fileno(), 1)
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        while os.readlink(f"/proc/{pid}/fd/1") != str(watching.paths[0]):
            time.sleep(0.001)
        watching.begin(64 * KIB, pid=pid)
        watching.paths[0].unlink()
        watching.out.write(b"x" * KIB * KIB)
        watching.settle()
        assert os.fstat(watching.out.fileno()).st_blocks * 512 <= 72 * KIB
    finally:
        os.close(writer)
        os.close(reader)
        os.waitpid(pid, 0)


def test_where_nothing_can_be_punched_output_stays_whole_and_that_is_said_once(
    watching, monkeypatch
):
    def refuses(*_):
        raise OSError(errno.EOPNOTSUPP, "no holes here")

    monkeypatch.setattr(linux, "punch_hole", refuses)
    watching.begin(64 * KIB)
    for file in (watching.out, watching.err, watching.out):
        file.write(b"x" * KIB * KIB)
        watching.settle()
    watching.end()
    assert watching.left() == 2 * KIB * KIB
    [complaint] = watching.complaints
    assert "no holes here" in complaint


def test_a_full_disk_is_no_reason_to_complain(watching, monkeypatch):
    def refuses(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(linux, "punch_hole", refuses)
    monkeypatch.setattr(order.Order, "_write", refuses)
    watching.begin(64 * KIB)
    for file in (watching.out, watching.err, watching.out):
        file.write(b"x" * KIB * KIB)
        watching.settle()
    watching.end()
    assert watching.complaints == []


def no_inotify(monkeypatch):
    def fails(self):
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(linux.Inotify, "__init__", fails)


def no_watches(monkeypatch):
    def fails(self, path, mask):
        raise OSError(errno.ENOSPC, "too many")

    monkeypatch.setattr(linux.Inotify, "add", fails)


@pytest.mark.parametrize("without", [no_inotify, no_watches])
def test_without_watches_it_looks_from_time_to_time_while_there_is_an_attempt(
    tmp_path, monkeypatch, without
):
    without(monkeypatch)
    watching = Watching(tmp_path)
    watching.begin(64 * KIB)
    deadline = time.monotonic() + LIMIT_S
    watching.err.write(b"first")
    while not watching.outputs._looked_at_unwatched:
        wait_ms, _ = watching.wait(None)
        assert wait_ms <= 100
    watching.out.write(b"x" * KIB * KIB)
    while watching.left() > 72 * KIB:
        watching.wait(None)
        assert time.monotonic() < deadline
    watching.err.write(b"x" * KIB * KIB)
    watching.end()
    assert watching.left(watching.paths[1]) <= 72 * KIB
    assert watching.turns() == [(1, 5), (0, KIB * KIB)]
    assert len(watching.complaints) == 1
    while watching.outputs.register(select.poll(), None) is not None:
        assert time.monotonic() < deadline, "nobody is left to be looked at"
    watching.close()


def test_lost_events_cost_a_look_and_nothing_else(watching, monkeypatch):
    watching.begin(64 * KIB)
    read = linux.Inotify.read

    def overflown(self):
        read(self)
        return [linux.FileEvent(-1, linux.IN_Q_OVERFLOW, "")]

    watching.out.write(b"x" * KIB * KIB)
    with monkeypatch.context() as patch:
        patch.setattr(linux.Inotify, "read", overflown)
        watching.wait(1000)
    watching.settle()
    assert watching.left() <= 72 * KIB


def test_no_attempt_costs_a_descriptor_or_leaves_a_watch(watching):
    before = len(os.listdir("/proc/self/fd"))
    watching.begin(64 * KIB)
    watching.out.write(b"x" * KIB * KIB)
    watching.settle()
    assert len(os.listdir("/proc/self/fd")) == before
    watching.end()
    fdinfo = f"/proc/self/fdinfo/{watching.outputs._inotify.fileno()}"
    with open(fdinfo) as file:
        assert "inotify" not in file.read()
    assert not watching.outputs._written
    assert not watching.outputs._watched
