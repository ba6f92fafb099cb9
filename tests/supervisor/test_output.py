"""What jobs wrote: read in pieces, followed, removed."""

import asyncio
import os
import shutil
import signal
import tempfile
from contextlib import contextmanager

import pytest

from jobd.supervisor.growth import Watches
from jobd.supervisor.output import Outputs

ID = "ab00000000000001"


@pytest.fixture
def output(tmp_path):
    output = Outputs(tmp_path)
    yield output
    output._worker.shutdown()


@pytest.fixture
def write(tmp_path):
    def write(content, stream="stdout", attempt=1, id=ID):
        path = tmp_path / "output" / id[:2] / id / f"{attempt}.{stream}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@contextmanager
def without_root():
    """Whom modes hold for."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)


@pytest.fixture
def shared():
    """Logs that another user may read, too."""
    directory = tempfile.mkdtemp(prefix="jobd-")
    os.chmod(directory, 0o755)
    yield directory
    shutil.rmtree(directory)


def test_pieces_join_to_the_whole_and_never_split_a_character(output, write):
    text = "aé€😀" * 50
    write(text)
    for limit in range(1, 40):
        seen, offset, eof = "", 0, False
        while not eof:
            chunk = output.read_now(ID, 1, "stdout", offset=offset, limit=limit)
            assert not chunk.lossy and chunk.skipped == 0
            assert len(chunk.data.encode()) <= max(limit, 4)
            assert chunk.offset > offset
            seen, offset, eof = seen + chunk.data, chunk.offset, chunk.eof
        assert seen == text
        assert offset == len(text.encode())


def test_half_a_character_at_the_end_is_awaited_while_the_attempt_runs(output, write):
    write(b"a\xe2\x82")
    assert output.read_now(ID, 1, "stdout") == ("a", 1, True, 0, False)
    write(b"\xac")
    assert output.read_now(ID, 1, "stdout", offset=1) == ("€", 4, True, 0, False)


def test_half_a_character_at_the_end_of_all_is_lossy(output, write):
    write(b"a\xe2\x82")
    assert output.read_now(ID, 1, "stdout", over=True) == ("a\ufffd", 3, True, 0, True)


def test_what_is_no_text_is_replaced_and_said_to_be(output, write):
    write(b"\xff\x80\x80\x80\x80a\n")
    chunk = output.read_now(ID, 1, "stdout")
    assert chunk.lossy and chunk.data.endswith("a\n") and chunk.offset == 7


def test_a_file_that_is_not_there_yet_is_empty(output):
    assert output.read_now(ID, 1, "stdout") == ("", 0, True, 0, False)
    assert output.read_now(ID, 1, "both") == ("", "0.0", True, 0, False)


def test_output_that_was_removed_is_told_apart_from_none(output, write):
    with pytest.raises(LookupError):
        output.read_now(ID, 1, "stdout", over=True)
    write("", "stderr")
    assert output.read_now(ID, 1, "stdout", over=True).data == ""


@pytest.mark.parametrize("lines", [0, 1, 2, 3, 99])
@pytest.mark.parametrize("end", ["", "\n"])
def test_the_last_lines(output, write, lines, end):
    text = "one\ntwo\nthree" + end
    write(text)
    wanted = "".join(text.splitlines(keepends=True)[-lines:]) if lines else ""
    assert output.read_now(ID, 1, "stdout", tail=lines).data == wanted
    assert output.read_now(ID, 1, "both", tail=lines).data == wanted


def test_the_last_lines_of_a_large_file(output, write):
    write("".join(f"{n}\n" for n in range(100_000)))
    assert output.read_now(ID, 1, "stdout", tail=2).data == "99998\n99999\n"
    assert output.read_now(ID, 1, "stdout", tail=30_000, limit=1 << 20).data.startswith("70000\n")


def test_both_streams_are_read_by_one_offset(output, write):
    write("out1 ")
    write("err1 ", "stderr")
    first = output.read_now(ID, 1, "both")
    assert (first.data, first.offset) == ("out1 err1 ", "5.5")
    write("err2 ", "stderr")
    write("out2 ")
    assert output.read_now(ID, 1, "both", offset=first.offset).data == "out2 err2 "


def test_both_within_a_limit_lose_nothing(output, write):
    write("o" * 30)
    write("e" * 30, "stderr")
    seen, offset, eof = "", 0, False
    while not eof:
        chunk = output.read_now(ID, 1, "both", offset=offset, limit=7)
        seen, offset, eof = seen + chunk.data, chunk.offset, chunk.eof
    assert seen == "o" * 30 + "e" * 30


@pytest.mark.parametrize("offset", ["", "x", "1", "1.2.3", "-1.0", "1.", "٣.0"])
def test_an_offset_that_was_not_given_out_is_refused(output, offset):
    with pytest.raises(ValueError, match="offset"):
        output.read_now(ID, 1, "both", offset=offset)


@pytest.mark.parametrize("offset", [-1, "0.0"])
def test_so_is_one_of_the_wrong_kind(output, offset):
    with pytest.raises(ValueError, match="offset"):
        output.read_now(ID, 1, "stdout", offset=offset)


def test_an_offset_beyond_the_end_reads_nothing(output, write):
    write("abc")
    assert output.read_now(ID, 1, "stdout", offset=99)[:3] == ("", 3, True)


def test_followers_are_woken_by_growth_and_by_nothing_else(output, write):
    async def act():
        with (
            output.watch(ID) as mine,
            output.watch("cd00000000000001") as other,
        ):
            write("first")
            async with asyncio.timeout(5):
                await mine.grown()
            while not mine._event.is_set():
                write("more")
                await asyncio.sleep(0.001)
            assert not other._event.is_set()
        assert output._watches._inotify is None, "nobody follows, nothing is watched"

    asyncio.run(act())


def test_followers_are_woken_without_inotify_too(tmp_path, monkeypatch):
    def fails(self):
        raise OSError

    monkeypatch.setattr("jobd.linux.Inotify.__init__", fails)

    async def act():
        watches = Watches()
        with watches.watch(str(tmp_path)) as growth:
            async with asyncio.timeout(5):
                await growth.grown()
                await growth.grown()
        assert watches._timer is None

    asyncio.run(act())


def test_a_job_that_is_forgotten_loses_its_output(tmp_path, write):
    output = Outputs(tmp_path)
    kept, gone = write("x", id="ab00000000000002"), write("x")
    output.forget(ID)
    output.forget("ab00000000000003")  # that had none
    output.close()
    assert kept.exists() and not gone.parent.exists()


def test_the_oldest_output_goes_when_there_is_too_much(tmp_path, write):
    output = Outputs(tmp_path, total_max_bytes=50_000)
    files = [write("x" * 20_000, attempt=n) for n in (1, 2, 3)]
    for number in (1, 2, 3):
        output.ended(ID, number)
    output.close()
    assert [file.exists() for file in files] == [False, True, True]


def test_output_from_earlier_counts(tmp_path, write):
    old, new = write("x" * 20_000), write("x" * 20_000, "stderr", attempt=2)
    os.utime(old, (1, 1))
    output = Outputs(tmp_path, total_max_bytes=30_000)
    asyncio.run(output.scan())
    output.close()
    assert (old.exists(), new.exists()) == (False, True)


def test_a_new_bound_counts_what_is_there_but_for_what_still_runs(tmp_path, write):
    old, running, new = (write("x" * 20_000, attempt=n) for n in (1, 2, 3))
    os.utime(old, (2, 2))
    os.utime(running, (1, 1))
    output = Outputs(tmp_path)
    asyncio.run(output.scan())  # without a bound, nothing is counted
    output.total_max_bytes = 30_000
    asyncio.run(output.scan(lambda: [(ID, 2)]))
    output.close()
    assert (old.exists(), running.exists(), new.exists()) == (False, True, True)


def test_a_directory_that_a_job_has_shut_is_no_reason_not_to_start(shared):
    shut, fine = (f"{shared}/output/{id[:2]}/{id}" for id in (ID, "cd00000000000001"))
    for directory in (shut, fine):
        os.makedirs(directory)
        with open(f"{directory}/1.stdout", "wb") as file:
            file.write(b"x" * 20_000)
    os.chmod(shut, 0)
    output = Outputs(shared, total_max_bytes=1 << 30)
    with without_root():
        asyncio.run(output.scan())
    os.chmod(shut, 0o755)
    output.close()
    assert set(output._ended) == {("cd00000000000001", 1)}


def test_nor_is_one_that_leads_nowhere(tmp_path, write):
    write("x")
    loop = tmp_path / "output" / "cd" / "cd00000000000001"
    loop.parent.mkdir()
    loop.symlink_to(loop)
    output = Outputs(tmp_path, total_max_bytes=1 << 30)
    asyncio.run(output.scan())
    output.close()
    assert set(output._ended) == {(ID, 1)}


def test_output_that_a_job_has_shut_is_none(shared):
    directory = f"{shared}/output/{ID[:2]}/{ID}"
    os.makedirs(directory)
    for stream in ("stdout", "stderr", "order"):
        with open(f"{directory}/1.{stream}", "wb") as file:
            file.write(b"x")
        os.chmod(f"{directory}/1.{stream}", 0)
    output = Outputs(shared)
    with without_root():
        chunks = [output.read_now(ID, 1, stream, over=True) for stream in ("stdout", "both")]
    output.close()
    assert [chunk.data for chunk in chunks] == ["", ""]


def test_what_an_attempt_left_counts_though_no_keeper_told_of_its_end(scene, world):
    def wrote(id):
        return world.log_dir / "output" / id[:2] / id / "1.stdout"

    def launched(id, then):
        return world.launch("sh", "-c", f"head -c 20000 /dev/zero; {then}", id=id)

    async def act(world):
        world.output.total_max_bytes = 30_000
        await world.ending(launched("job0000000000001", "true"))
        lost = launched("job0000000000002", "sleep 600")
        await world.until(lambda: wrote(lost).exists() and wrote(lost).stat().st_size == 20_000)
        assert wrote("job0000000000001").exists()
        os.kill(world.keeper_pid(), signal.SIGKILL)
        assert (await world.ending(lost)).kind == "interrupted"
        await world.until(lambda: not wrote("job0000000000001").exists())
        assert wrote(lost).exists()
        # The next keeper is there, or the end of this test would come while it is being started.
        await world.until(lambda: world.supervisor._link is not None)

    scene(act)
