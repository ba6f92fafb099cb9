"""Real children that flood their streams: what is left, and how it reads."""

import json
import os
import sys
import tempfile

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="holes are made as on Linux")

MIB = 1 << 20
ID = "job0000000000001"
SHM = "/dev/shm"


@pytest.fixture(autouse=True, params=["on the disk", "in memory"])
def place(request, monkeypatch):
    """Before `world`, which is made there."""
    if request.param == "in memory":
        if not os.path.isdir(SHM):
            pytest.skip("there is no tmpfs")
        monkeypatch.setattr(tempfile, "tempdir", SHM)


@pytest.fixture
def bounded(world, place):
    world.options["output_max"] = MIB
    return world


def outputs(world, id=ID):
    return world.log_dir / "output" / id[:2] / id


def taken(world, id=ID):
    return sum(file.stat().st_blocks * 512 for file in outputs(world, id).iterdir())


def told(world, stream="both", **how):
    """All of it in pieces: the text, how much was skipped, and every offset."""
    text, skipped, offset, eof = "", 0, 0, False
    while not eof:
        chunk = world.output.read_now(ID, 1, stream, offset=offset, over=True, **how)
        assert not chunk.lossy
        text, skipped, offset, eof = (
            text + chunk.data, skipped + chunk.skipped, chunk.offset, chunk.eof,
        )  # fmt: skip
        how.pop("tail", None)
    return text, skipped, offset


def test_of_300_mb_the_first_and_last_lines_are_left(bounded, scene):
    async def act(world):
        world.launch("sh", "-c", "echo first; yes abcdefé | head -c 300000000; echo; echo last")
        ending = await world.ending()
        assert (ending.kind, ending.exit_code) == ("completed", 0)
        assert taken(world) < 6 * MIB
        text, skipped, offset = told(world, "stdout")
        assert text.startswith("first\nabcdefé\n")
        assert text.endswith("\nlast\n")
        assert offset == 300_000_012 == skipped + len(text.encode())
        assert MIB <= len(text.encode()) < MIB + 16 * 1024
        assert world.output.read_now(ID, 1, "both", tail=1, over=True).data == "last\n"

    scene(act)


def test_each_stream_is_bounded_for_itself_and_they_are_told_in_order(bounded, scene):
    async def act(world):
        world.launch(
            "sh", "-c",
            "echo begin; yes out | head -c 20000000; yes err | head -c 20000000 >&2; echo end",
        )  # fmt: skip
        await world.ending()
        assert 2 * MIB <= taken(world) < 6 * MIB
        text, skipped, _ = told(world)
        assert skipped + len(text) == 40_000_010
        assert text.startswith("begin\nout\n")
        assert text.index("out\n") < text.index("err\n")
        for stream in ("stdout", "stderr"):
            assert MIB <= len(told(world, stream)[0]) < MIB + 16 * 1024

    scene(act)


def test_the_keeper_bounds_output_while_there_is_no_daemon(bounded, run):
    async def act():
        world = bounded
        await world.supervisor.start([])
        go, done = world.home / "go", world.directory() / "outcome"
        world.launch(
            "sh", "-c", f"until [ -e {go} ]; do sleep 0.01; done; yes | head -c 100000000; exit 3"
        )
        await world.pid()
        world.drop_connection()
        go.touch()
        await world.until(done.exists)
        assert taken(world) < 6 * MIB
        assert json.loads(done.read_text())["exit_code"] == 3
        await world.supervisor.aclose(leave=True)
        following = world.another()
        world.supervisor = following
        await following.start([world.job()])
        assert (await world.ending()).exit_code == 3
        await following.aclose(leave=False)

    run(act())


def test_a_bound_is_kept_while_the_job_runs_on(bounded, scene):
    async def act(world):
        world.launch("sh", "-c", "yes | head -c 50000000; sleep 600")
        await world.pid()
        path = outputs(world) / "1.stdout"
        await world.until(lambda: path.exists() and path.stat().st_size == 50_000_000)
        await world.until(lambda: taken(world) < 2 * MIB)
        world.kill(ID)
        assert (await world.ending()).signal == "SIGKILL"

    scene(act)


def test_without_a_bound_everything_is_left(world, scene):
    async def act(world):
        world.launch("sh", "-c", "yes | head -c 10000000")
        await world.ending()
        text, skipped, _ = told(world)
        assert (len(text), skipped) == (10_000_000, 0)

    scene(act)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("yes | head -c 20000000; : > /dev/stdout; echo new", "new\n"),
        ("echo old; truncate -s 1T /dev/stdout || exit 0; echo new", "old\nnew\n"),
        ("yes | head -c 20000000; rm $OUT; echo more; ln -s /etc/passwd $OUT", ""),
        ("rm $OUT; mkfifo $OUT; echo x", ""),
        ("mv $OUT $OUT.moved; yes | head -c 20000000", ""),
        ("rm -r $(dirname $OUT); yes | head -c 20000000; echo x >&2", None),
    ],
    ids=["truncates", "extends", "links", "makes a fifo", "renames", "removes all"],
)
def test_what_a_job_does_to_its_own_output_is_survived(bounded, scene, script, text):
    async def act(world):
        out = outputs(world) / "1.stdout"
        world.launch("sh", "-c", f"OUT={out}; {script}")
        assert (await world.ending()).kind == "completed"
        if text is None:
            with pytest.raises(LookupError):
                told(world, "stdout")
        else:
            shown = told(world, "stdout")[0]
            assert shown.replace("\0", "") == text
            assert len(shown) < 8192, "zeros of one block at most"
        # The keeper is as it was.
        world.launch("echo", "next", id="job0000000000002")
        assert (await world.ending("job0000000000002")).kind == "completed"

    scene(act)


def test_both_streams_are_told_in_the_order_in_which_they_grew(world, scene):
    async def act(world):
        gate = world.home / "gate"
        index = outputs(world) / "1.order"
        wait = f"until [ -e {gate}${{n}}%s ]; do sleep 0.01; done"
        script = f"echo out $n; {wait % ''}; echo err $n >&2; {wait % 'x'}"
        world.launch("sh", "-c", f"for n in 1 2 3; do {script}; done")
        out, err = outputs(world) / "1.stdout", outputs(world) / "1.stderr"

        def size(path):
            return path.stat().st_size if path.exists() else 0

        for number in (1, 2, 3):
            await world.until(lambda n=number: size(out) == 6 * n)
            await world.until(lambda n=number: size(index) >= 8 * (2 * n - 2))
            gate.with_name(f"gate{number}").touch()
            await world.until(lambda n=number: size(err) == 6 * n)
            await world.until(lambda n=number: size(index) >= 8 * (2 * n - 1))
            gate.with_name(f"gate{number}x").touch()
        await world.ending()
        lines = [f"{stream} {n}\n" for n in (1, 2, 3) for stream in ("out", "err")]
        assert told(world)[0] == "".join(lines)
        assert told(world, tail=3)[0] == "".join(lines[-3:])
        assert told(world, limit=4)[0] == "".join(lines)

    scene(act)


def test_many_floods_leave_the_keeper_as_it_was(bounded, scene):
    async def act(world):
        fds = []
        for number in range(12):
            id = f"job00000000001{number:02}"
            world.launch("sh", "-c", "yes | head -c 5000000; yes | head -c 5000000 >&2", id=id)
            await world.ending(id)
            fds.append(len(os.listdir(f"/proc/{world.keeper_pid()}/fd")))
        assert len(set(fds)) == 1
        assert (world.log_dir / "keeper.log").read_text() == ""

    scene(act)
