"""The writer that rotates, and what it does when it can't write."""

from __future__ import annotations

import json
import logging
import os
import resource
import stat

import pytest

from jobd.errors import LogUnusable
from jobd.instants import parse_rfc3339
from jobd.logs.files import LogFile, LogFileHandler, Rotation

DAY = 86400.0


@pytest.fixture
def log(tmp_path, told):
    def make(**rotation) -> LogFile:
        return LogFile(
            tmp_path / "x.log", Rotation(**{"size_bytes": 1 << 20} | rotation), told.append
        )

    return make


def files(tmp_path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(tmp_path.iterdir())}


def test_a_log_is_for_its_owner_and_for_no_child(log, tmp_path, noon) -> None:
    made = log()
    made.write(b"a\n", noon)
    assert stat.S_IMODE((tmp_path / "x.log").stat().st_mode) == 0o600
    open_files = [f for f in os.listdir("/proc/self/fd") if _leads(f) == str(tmp_path / "x.log")]
    assert open_files
    assert not any(os.get_inheritable(int(f)) for f in open_files)


def _leads(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # the one that the listing itself used
        return ""


def test_what_was_there_is_added_to(log, tmp_path, noon) -> None:
    (tmp_path / "x.log").write_text("old\n")
    os.utime(tmp_path / "x.log", (noon, noon))
    log().write(b"new\n", noon)
    assert files(tmp_path) == {"x.log": "old\nnew\n"}


def test_a_day_that_ended_is_put_aside_under_its_date(log, tmp_path, noon) -> None:
    made = log()
    made.write(b"12th\n", noon)
    made.write(b"12th too\n", noon + 8 * 3600)
    made.write(b"13th\n", parse_rfc3339("2024-11-13T00:00:00Z"))
    made.write(b"20th\n", noon + 8 * DAY)
    assert files(tmp_path) == {
        "x.log": "20th\n",
        "x.log.2024-11-12": "12th\n12th too\n",
        "x.log.2024-11-13": "13th\n",
    }


def test_the_day_of_a_log_from_before_is_that_of_its_last_line(log, tmp_path, noon) -> None:
    (tmp_path / "x.log").write_text("old\n")
    os.utime(tmp_path / "x.log", (noon, noon))
    log().write(b"new\n", noon + DAY)
    assert files(tmp_path) == {"x.log": "new\n", "x.log.2024-11-12": "old\n"}


def test_a_clock_that_is_set_back_rotates_nothing(log, tmp_path, noon) -> None:
    made = log()
    made.write(b"a\n", noon)
    made.write(b"b\n", noon - 3 * DAY)
    made.write(b"c\n", noon)
    assert files(tmp_path) == {"x.log": "a\nb\nc\n"}


def test_files_of_one_day_are_numbered_and_never_written_over(log, tmp_path, noon) -> None:
    made = log(size_bytes=8)
    for text in (b"one\n", b"two\n", b"three\n", b"four\n", b"five\n"):
        made.write(text, noon)
    assert files(tmp_path) == {
        "x.log": "five\n",
        "x.log.2024-11-12": "one\ntwo\n",
        "x.log.2024-11-12.1": "three\n",
        "x.log.2024-11-12.2": "four\n",
    }


def test_a_line_larger_than_a_file_is_written_whole(log, tmp_path, noon) -> None:
    made = log(size_bytes=8)
    made.write(b"x" * 100 + b"\n", noon)
    assert (tmp_path / "x.log").read_bytes() == b"x" * 100 + b"\n"
    assert len(files(tmp_path)) == 1


def test_by_size_alone_a_day_may_end(log, tmp_path, noon) -> None:
    made = log(daily=False)
    made.write(b"a\n", noon)
    made.write(b"b\n", noon + DAY)
    assert files(tmp_path) == {"x.log": "a\nb\n"}


def test_the_newest_are_kept_and_others_files_are_left_alone(log, tmp_path, noon) -> None:
    for name in ("x.log.old", "x.log.2024-11-12.gz", "y.log.2024-01-01", "ax.log.2024-01-01"):
        (tmp_path / name).write_text("mine")
    made = log(keep=2, size_bytes=4)
    for n in range(12):  # so that .10 must count as more than .9
        made.write(b"%03d\n" % n, noon)
    kept = {name for name in files(tmp_path) if files(tmp_path)[name] != "mine"}
    assert kept == {"x.log", "x.log.2024-11-12.9", "x.log.2024-11-12.10"}
    assert len(files(tmp_path)) == 7
    made.write(b"nxt\n", noon + DAY)
    assert set(files(tmp_path)) >= {"x.log.2024-11-12.11", "x.log.2024-11-12.10"}


def test_kept_may_be_none_at_all(log, tmp_path, noon) -> None:
    made = log(keep=0)
    made.write(b"a\n", noon)
    made.write(b"b\n", noon + DAY)
    assert files(tmp_path) == {"x.log": "b\n"}


def test_after_it_was_moved_away_the_next_line_begins_a_new_file(log, tmp_path, noon) -> None:
    made = log()
    made.write(b"a\n", noon)
    (tmp_path / "x.log").rename(tmp_path / "moved")
    made.write(b"b\n", noon)
    made.reopen()
    made.write(b"c\n", noon)
    assert files(tmp_path) == {"moved": "a\nb\n", "x.log": "c\n"}


@pytest.mark.parametrize(("path", "code"), [("absent/x.log", 100), (".", 100)])
def test_a_log_that_can_not_be_opened_is_no_log(tmp_path, path: str, code: int) -> None:
    with pytest.raises(LogUnusable, match="can't be opened as a log") as caught:
        LogFile(tmp_path / path, Rotation(size_bytes=100))
    assert caught.value.exit_code == code


@pytest.fixture
def full_disk():
    """A limit on the size of any file that this process writes, as a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before if size is None else (size, before[1]))

    yield limit
    limit(None)


def test_a_full_disk_disturbs_nobody_is_told_once_and_so_is_its_end(
    log, tmp_path, told, noon, full_disk
) -> None:
    made = log()
    made.write(b"first\n", noon)
    full_disk(9)
    made.write(b"second\n", noon)  # three bytes of it fit
    made.write(b"third\nfourth\n", noon)
    full_disk(None)
    assert len(told) == 1
    assert "File too large" in told[0]
    made.write(b"fifth\n", noon)
    assert told[1:] == [f"{tmp_path / 'x.log'}: works again; 3 lines were lost"]
    assert files(tmp_path)["x.log"] == "first\nsec\nfifth\n"


def test_a_directory_that_vanished_disturbs_nobody(tmp_path, told, noon) -> None:
    home = tmp_path / "logs"
    home.mkdir()
    made = LogFile(home / "x.log", Rotation(size_bytes=4), told.append)
    made.write(b"aaa\n", noon)
    home.rename(tmp_path / "gone")
    made.write(b"bbb\n", noon)
    made.write(b"ccc\n", noon)
    assert len(told) == 2
    assert "can't be rotated" in told[0]
    assert "are lost" in told[1]
    home.mkdir()
    made.write(b"ddd\n", noon)
    assert (home / "x.log").read_text() == "ddd\n"
    assert "works again; 2 lines were lost" in told[2]


def test_what_can_not_be_put_aside_is_added_to(log, tmp_path, told, noon) -> None:
    made = log(size_bytes=4)
    made.write(b"aaa\n", noon)
    # A directory of that name can't be written over by a file, nor seen as one put aside.
    made._aside = lambda: str(tmp_path)
    for text in (b"bbb\n", b"ccc\n"):
        made.write(text, noon)
    assert files(tmp_path) == {"x.log": "aaa\nbbb\nccc\n"}
    assert len(told) == 1


def test_a_line_that_a_crash_cut_short_is_not_glued_to_the_next(log, tmp_path, noon) -> None:
    (tmp_path / "x.log").write_text("whole\nha")
    log().write(b"next\n", noon)
    assert files(tmp_path)["x.log"] == "whole\nha\nnext\n"


# -------------------------------------------------------------------------------- jobd.log


@pytest.fixture
def logger(log):
    handlers = []

    def make(*, as_json: bool = False) -> logging.Logger:
        made = logging.Logger("jobd.test")  # noqa: LOG001 - one that nobody else sees
        handlers.append(LogFileHandler(log(), as_json=as_json))
        made.addHandler(handlers[-1])
        return made

    yield make
    for handler in handlers:
        handler.close()


def test_a_line_has_instant_logger_and_level(logger, tmp_path) -> None:
    logger().warning("started pid=%d", 5)
    line = files(tmp_path)["x.log"]
    assert line.startswith("[20")
    assert line.endswith("] jobd.test.WARNING: started pid=5\n")


def test_nothing_that_is_logged_can_forge_a_line(logger, tmp_path) -> None:
    logger().info("job said %s", "a\nb\x1b[31m")
    assert files(tmp_path)["x.log"].count("\n") == 1
    assert r"a\u000ab\u001b[31m" in files(tmp_path)["x.log"]


def test_a_traceback_is_shown_below_its_line(logger, tmp_path) -> None:
    made = logger()
    try:
        raise ValueError("boom\nsecond")
    except ValueError:
        made.exception("handler failed")
    first, *rest = files(tmp_path)["x.log"].splitlines()
    assert first.endswith("ERROR: handler failed")
    assert rest[0] == "    Traceback (most recent call last):"
    assert rest[-2:] == ["    ValueError: boom", "    second"]


def test_as_json_it_is_an_object_a_line(logger, tmp_path) -> None:
    made = logger(as_json=True)
    try:
        raise ValueError("boom")
    except ValueError:
        made.exception("handler %s", "failed")
    entry = json.loads(files(tmp_path)["x.log"])
    assert (entry["level"], entry["logger"]) == ("ERROR", "jobd.test")
    assert entry["message"] == "handler failed"
    assert entry["traceback"].endswith("ValueError: boom")
    assert entry["timestamp"].endswith("Z")


def test_a_log_call_with_a_fault_does_not_stop_what_it_tells_of(logger, tmp_path, capsys) -> None:
    made = logger()
    made.info("%d things", "many")
    made.info("next")
    assert files(tmp_path)["x.log"].count("\n") == 1
    assert "many" in capsys.readouterr().err
