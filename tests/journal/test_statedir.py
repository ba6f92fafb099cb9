"""A directory that is not jobd's is left as it is; one that is, belongs to one daemon."""

import os
import subprocess
import sys

import pytest

from jobd.errors import ForeignState, StateLocked
from jobd.journal.files import FILES
from jobd.journal.statedir import LOCK, StateDir


def listing(path):
    return sorted(os.walk(path))


def test_a_new_state_directory_is_private(open_store, state_dir):
    open_store(state_dir)

    assert state_dir.stat().st_mode & 0o777 == 0o700
    assert (state_dir / "journal").stat().st_mode & 0o777 == 0o700
    assert next((state_dir / "journal").iterdir()).stat().st_mode & 0o777 == 0o600


def test_an_empty_directory_becomes_a_state_directory(open_store, state_dir):
    state_dir.mkdir()

    assert open_store(state_dir).past == []


def test_a_directory_with_somebody_elses_files_is_not_touched(open_store, state_dir):
    state_dir.mkdir()
    (state_dir / "thesis.txt").write_text("all of it")
    before = listing(state_dir)

    with pytest.raises(ForeignState, match=r"not jobd's.*choose another") as refusal:
        open_store(state_dir)

    assert refusal.value.exit_code == 100
    assert listing(state_dir) == before


def test_a_file_is_no_state_directory(open_store, state_dir):
    state_dir.write_text("mine")

    with pytest.raises(ForeignState, match="no directory"):
        open_store(state_dir)
    assert state_dir.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_not_touched(open_store, state_dir):
    state_dir.mkdir()
    os.chown(state_dir, 12345, -1)

    with pytest.raises(ForeignState, match="uid 12345"):
        open_store(state_dir)
    assert listing(state_dir) == [(str(state_dir), [], [])]


def test_a_directory_that_others_can_write_to_is_refused(open_store, state_dir):
    state_dir.mkdir()
    state_dir.chmod(0o777)

    with pytest.raises(ForeignState, match="chmod go-w"):
        open_store(state_dir)
    assert listing(state_dir) == [(str(state_dir), [], [])]


def test_a_second_daemon_is_told_who_has_it(open_store, state_dir):
    open_store(state_dir)
    before = listing(state_dir)

    with pytest.raises(StateLocked, match=f"pid {os.getpid()}") as refusal:
        open_store(state_dir)

    assert refusal.value.exit_code == 111
    assert listing(state_dir) == before


def test_the_lock_is_not_inherited_by_a_child(open_store, state_dir):
    store = open_store(state_dir)
    child = subprocess.Popen(
        [sys.executable, "-c", "print('here', flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False,
    )  # fmt: skip
    child.stdout.readline()  # past its exec: until then it has what the parent had
    try:
        store.close()
        assert open_store(state_dir).next_seq == 1
    finally:
        child.communicate(b"\n")


def test_the_lock_goes_with_the_store(open_store, state_dir):
    for _ in range(3):
        open_store(state_dir).close()


def test_a_lock_that_is_kept_outlives_the_store_and_is_taken_up_again(state_dir):
    first = StateDir.claim(state_dir, FILES)
    kept = first.keep()
    first.release()
    with pytest.raises(StateLocked):
        StateDir.claim(state_dir, FILES)
    second = StateDir.claim(state_dir, FILES, kept)
    with pytest.raises(StateLocked):
        StateDir.claim(state_dir, FILES)
    second.release()
    StateDir.claim(state_dir, FILES).release()


def test_a_lock_of_another_directory_is_let_go(state_dir, tmp_path):
    other = StateDir.claim(tmp_path / "other", FILES)
    kept = other.keep()
    other.release()
    here = StateDir.claim(state_dir, FILES, kept)
    StateDir.claim(tmp_path / "other", FILES).release()
    with pytest.raises(StateLocked):
        StateDir.claim(state_dir, FILES)
    here.release()


@pytest.mark.parametrize("before", [b"", b"77\n", b"x" * 100])
def test_the_lock_is_signed_without_giving_its_room_away(state_dir, monkeypatch, before):
    """A file that is emptied first needs a block again, which a full disk has not."""
    StateDir.claim(state_dir, FILES).release()
    (state_dir / LOCK).write_bytes(before)
    lengths = []
    truncate = os.ftruncate
    monkeypatch.setattr(os, "ftruncate", lambda fd, n: (lengths.append(n), truncate(fd, n)))
    state = StateDir.claim(state_dir, FILES)
    state.sign()
    said = (state_dir / LOCK).read_bytes()
    assert said.split() == [b"%d" % os.getpid()]
    assert not lengths or min(lengths) == len(said)
    assert len(said) == 11, "of one width"
    state.release()
