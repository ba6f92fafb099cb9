"""The kernel's own answers to the calls that Python lacks."""

import errno
import os
import select
import sys
import time

import pytest

from jobd import linux

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def _ready(fd, limit_s):
    return bool(select.select([fd], [], [], limit_s)[0])


@pytest.mark.parametrize("clock", [linux.CLOCK_REALTIME, linux.CLOCK_BOOTTIME])
def test_a_timer_is_due_at_its_time_and_not_before(clock):
    fd = linux.timerfd(clock)
    try:
        at = time.clock_gettime(clock) + 0.05
        linux.timerfd_set(fd, at, cancel_on_set=clock == linux.CLOCK_REALTIME)
        assert _ready(fd, 5)
        assert time.clock_gettime(clock) >= at
        assert os.read(fd, 8)
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_a_timer_that_was_disarmed_is_silent_and_one_that_is_late_is_due_at_once():
    fd = linux.timerfd(linux.CLOCK_BOOTTIME)
    try:
        linux.timerfd_set(fd, time.clock_gettime(linux.CLOCK_BOOTTIME) + 0.01)
        linux.timerfd_set(fd, None)
        assert not _ready(fd, 0.03)
        linux.timerfd_set(fd, 1e12)
        assert not _ready(fd, 0)
        linux.timerfd_set(fd, -3.0)
        assert _ready(fd, 5)
    finally:
        os.close(fd)


def test_allocated_room_does_not_change_the_size(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        linux.fallocate_keep_size(file.fileno(), 0, 1 << 20)
        status = os.fstat(file.fileno())
        assert (status.st_size, status.st_blocks * 512) == (0, 1 << 20)
        with pytest.raises(OSError, match="fallocate") as failed:
            linux.fallocate_keep_size(file.fileno(), 0, 0)
        assert failed.value.errno == errno.EINVAL


def test_changes_in_a_directory_are_told_with_names(tmp_path):
    inotify = linux.Inotify()
    try:
        watch = inotify.add(tmp_path, linux.IN_CREATE | linux.IN_MODIFY)
        assert inotify.read() == []
        (tmp_path / "a").write_text("x")
        assert [(e.watch, e.mask, e.name) for e in inotify.read()] == [
            (watch, linux.IN_CREATE, "a"), (watch, linux.IN_MODIFY, "a"),
        ]  # fmt: skip
        inotify.remove(watch)
        inotify.remove(watch)
        assert [e.mask for e in inotify.read()] == [linux.IN_IGNORED]
    finally:
        inotify.close()
