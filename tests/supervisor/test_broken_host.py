"""What is the host's fault holds starts and fails no job; what is a job's own holds nobody else."""

import contextlib
import errno
import os
import signal

import pytest

from jobd.core.allow import Admitted
from jobd.core.commands import AttemptNeverRan
from jobd.core.decision import Launch
from jobd.core.job import Policy
from jobd.errors import CannotStart
from jobd.keeper import files, protocol, starting
from jobd.supervisor import link, supervisor
from jobd.supervisor.launching import Places, launch_message

ID = "job0000000000001"


@pytest.mark.parametrize("place", ["state/attempts", "logs/output"])
def test_a_directory_that_can_not_be_used_fails_no_job(scene, world, place):
    async def act(world):
        broken = world.home / place
        with contextlib.suppress(FileNotFoundError):
            broken.rmdir()
        broken.write_text("")
        world.launch("true")
        report = await world.report(ID)
        assert isinstance(report, AttemptNeverRan)
        assert "Not a directory" in report.want
        assert "Not a directory" in await world.probed()
        broken.unlink()
        assert await world.probed() is None
        world.launch("true", id="job0000000000002")
        assert (await world.ending("job0000000000002")).kind == "completed"
        assert sorted(path.name for path in broken.iterdir()) in (["job0000000000002-1"], ["jo"])

    scene(act)


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM])
def test_whatever_a_probe_meets_too_is_the_hosts_fault(world, monkeypatch, number):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    places = Places(world.state_dir, world.log_dir)
    effect = Launch(ID, 1, "uid:0", b'{"command":["true"]}', Policy(), Admitted("/bin/true"))
    monkeypatch.setattr(os, "posix_fallocate", fails)
    with pytest.raises(files.NoRoom, match=os.strerror(number)):
        starting.Prepared(launch_message(effect, world.settings(), places))
    assert os.listdir(places.attempts) == []


def a_link(path):
    path.symlink_to("/dev/null")


def a_link_to_nothing(path):
    path.symlink_to("nothing")


_held = []


@pytest.fixture(autouse=True)
def _let_go():
    yield
    while _held:
        _held.pop().close()


def a_fifo_that_is_read(path):
    os.mkfifo(path)
    _held.append(open(path, "r+b", buffering=0))  # noqa: SIM115 closed by the fixture


@pytest.mark.parametrize("puts", [os.mkfifo, a_fifo_that_is_read])
@pytest.mark.parametrize("name", ["call", "result.part", "outcome.part", "stdout", "stderr"])
def test_a_fifo_in_place_of_the_next_attempts_files_is_waited_for_by_nobody(
    scene, world, name, puts
):
    async def act(world):
        path = world.directory(attempt=2) / name
        if name.startswith("std"):
            path = world.log_dir / f"output/jo/{ID}/2.{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        puts(path)
        world.module("def f(): return 1")
        world.call("jobs:f", attempt=2)
        assert (await world.ending()).kind == "spawn"
        world.launch("true", id="other00000000001")
        assert (await world.ending("other00000000001")).kind == "completed"

    scene(act)


@pytest.mark.parametrize(
    ("place", "puts"),
    [
        ("logs/output/jo/job0000000000001/1.stdout", a_link),
        ("logs/output/jo/job0000000000001/1.stderr", os.mkdir),
        ("logs/output/jo/job0000000000001", a_link_to_nothing),
        ("state/attempts/job0000000000001-1", a_link),
        ("state/attempts/job0000000000001-1", a_link_to_nothing),
    ],
)
def test_what_is_in_the_way_of_one_attempt_is_its_own_failure(scene, world, place, puts):
    async def act(world):
        path = world.home / place
        path.parent.mkdir(parents=True, exist_ok=True)
        puts(path)
        keeper = world.keeper_pid()
        world.launch("true")
        ending = await world.ending()
        assert (ending.kind, ending.exit_code) == ("spawn", None)
        assert await world.probed() is None
        world.launch("true", id="other00000000001")
        assert (await world.ending("other00000000001")).kind == "completed"
        assert world.keeper_pid() == keeper

    scene(act)


def test_a_link_in_the_place_of_an_attempt_goes_and_what_it_leads_to_is_not_touched(scene):
    async def act(world):
        precious = world.home / "precious"
        precious.mkdir()
        (precious / "outcome").touch()
        directory = world.directory()
        script = f"rm -r {directory}; ln -s {precious} {directory}"
        world.launch("sh", "-c", script)
        await world.ending()
        world.settle(ID)
        await world.until(lambda: not directory.is_symlink())
        assert [(path.name, path.read_text()) for path in precious.iterdir()] == [("outcome", "")]

    scene(act)


def test_what_a_job_put_beside_its_files_is_not_removed_by_the_keeper(tmp_path):
    """It could be a million of them, and the keeper has other jobs to see to."""
    directory = str(tmp_path / "job-1")
    claim = files.claim(directory)
    files.prepare(directory, claim, "{}")
    os.close(claim)
    (tmp_path / "job-1" / "mine").touch()
    files.settle(directory)
    assert os.listdir(directory) == ["mine"]
    (tmp_path / "job-1" / "mine").unlink()
    files.settle(directory)
    assert not os.path.exists(directory)


def test_a_keeper_that_can_not_write_its_log_keeps_its_jobs(scene, world):
    world.log_dir.mkdir()
    (world.log_dir / "keeper.log").symlink_to("/dev/full")

    async def act(world):
        keeper = world.keeper_pid()
        world.launch("sh", "-c", f"rm -r {world.directory()}; exit 3")
        assert (await world.ending()).exit_code == 3
        world.launch("true", id="other00000000001")
        assert (await world.ending("other00000000001")).kind == "completed"
        assert world.keeper_pid() == keeper

    scene(act)


def test_a_keeper_that_does_not_answer_is_told(scene, monkeypatch):
    async def act(world):
        await world.supervisor.alive()
        os.kill(world.keeper_pid(), signal.SIGSTOP)
        monkeypatch.setattr(supervisor, "PONG_S", 0.1)
        with pytest.raises(CannotStart, match="does not answer"):
            await world.supervisor.alive()
        os.kill(world.keeper_pid(), signal.SIGCONT)
        monkeypatch.undo()
        await world.supervisor.alive()

    scene(act)


def test_a_keeper_that_does_not_answer_at_a_start_may_do_so_later(run, world, monkeypatch):
    async def act():
        await world.supervisor.start([])
        world.launch("sleep", "600")
        await world.pid()
        os.kill(world.keeper_pid(), signal.SIGSTOP)
        world.drop_connection()
        monkeypatch.setattr(link, "HELLO_S", 0.1)
        with pytest.raises(CannotStart, match="does not answer") as refused:
            await world.another().start([world.job()])
        assert refused.value.exit_code == 111

    run(act())


def test_a_keeper_that_no_other_daemon_can_reach_is_told_while_it_has_jobs(scene):
    async def act(world):
        os.unlink(world.state_dir / protocol.SOCKET)
        await world.supervisor.alive()
        id = world.launch("sleep", "600")
        await world.pid()
        with pytest.raises(CannotStart, match=protocol.SOCKET):
            await world.supervisor.alive()
        world.kill(id)
        await world.ending()
        await world.supervisor.alive()

    scene(act)
