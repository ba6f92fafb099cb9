"""What becomes of running attempts when daemon, keeper or machine die; and full disks."""

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobd.core.commands import AttemptNeverRan
from jobd.errors import CannotStart
from jobd.keeper import main, protocol, tree

ID = "job0000000000001"


async def _restarted(world, *jobs, boot_id="this"):
    world.supervisor = world.another(boot_id)
    await world.supervisor.start(jobs)


def _living(pid):
    process = tree.read(pid)
    return process is not None and process.living


def test_the_next_daemon_takes_over_what_runs(run, world):
    async def act():
        await world.supervisor.start([])
        world.launch(
            "sh", "-c", "while ! [ -e go ]; do sleep 0.01; done; exit 5", cwd=str(world.home)
        )
        pid, keeper = await world.pid(), world.keeper_pid()
        world.drop_connection()

        await _restarted(world, world.job())
        assert world.supervisor.pid(ID) == pid
        assert world.keeper_pid() == keeper
        (world.home / "go").touch()
        ending = await world.ending()
        assert (ending.kind, ending.exit_code, ending.pid) == ("exit", 5, pid)
        await world.supervisor.aclose(leave=False)

    run(act())


def test_an_attempt_that_was_taken_over_can_be_stopped(run, world):
    async def act():
        await world.supervisor.start([])
        world.launch("sleep", "600")
        await world.pid()
        await world.supervisor.aclose(leave=True)

        await _restarted(world, world.job())
        world.stop(ID)
        assert (await world.ending()).signal == "SIGTERM"
        await world.supervisor.aclose(leave=False)

    run(act())


def test_what_ended_while_no_daemon_was_there_is_told_to_the_next(run, world):
    async def act():
        await world.supervisor.start([])
        world.launch(
            "sh", "-c", "while ! [ -e go ]; do sleep 0.01; done; exit 6", cwd=str(world.home)
        )
        await world.pid()
        keeper = world.keeper_pid()
        world.drop_connection()
        (world.home / "go").touch()
        await world.until(lambda: not _living(keeper))  # with nobody left to serve, it went

        await _restarted(world, world.job())
        assert (await world.ending()).exit_code == 6
        assert world.supervisor.live == 0
        await world.supervisor.aclose(leave=False)

    run(act())


# A keeper that stops for good where an outcome would get its name.
STOPPING = """
import runpy, signal, sys
main, listener, stopped = sys.argv[1:]
def stop(event, arguments):
    if event == "os.rename" and arguments[1].endswith("/outcome"):
        open(stopped, "w").close()
        while True:
            signal.pause()
sys.addaudithook(stop)
sys.argv = [main, listener]
runpy.run_path(main, run_name="__main__")
"""


def test_a_keeper_whose_daemon_went_before_it_was_greeted_goes_too(world):
    path = str(world.state_dir / protocol.SOCKET)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as daemon:
        listener.bind(path)
        listener.listen()
        daemon.connect(path)
        daemon.close()
        fd = listener.fileno()
        keeper = subprocess.Popen(
            [sys.executable, *main.FLAGS, main.__file__, str(fd)],
            env={protocol.KEEPER: str(world.state_dir)}, pass_fds=(fd,), start_new_session=True,
        )  # fmt: skip
    assert keeper.wait(15) == 0


@pytest.fixture
def stopping(world):
    """Such a keeper's pid, and the file that is there once it has stopped."""
    stopped = world.home / "stopped"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(world.state_dir / protocol.SOCKET))
        listener.listen()
        fd = listener.fileno()
        keeper = subprocess.Popen(
            [sys.executable, *main.FLAGS, "-c", STOPPING, main.__file__, str(fd), str(stopped)],
            env={protocol.KEEPER: str(world.state_dir)}, pass_fds=(fd,), start_new_session=True,
        )  # fmt: skip
    keeper.returncode = 0  # reaped by the supervisor
    return keeper.pid, stopped


def test_no_end_is_told_that_is_not_on_the_disk(run, world, stopping):
    keeper, stopped = stopping

    async def act():
        await world.supervisor.start([])
        assert world.keeper_pid() == keeper
        world.launch("true")
        await world.until(stopped.exists)
        os.kill(keeper, signal.SIGKILL)
        assert (await world.ending()).kind == "interrupted"
        await world.supervisor.aclose(leave=False)

    run(act())


def test_an_outcome_counts_on_a_later_boot_too(run, world):
    async def act():
        await world.supervisor.start([])
        world.launch("sh", "-c", "exit 6")
        await world.ending()
        await world.supervisor.aclose(leave=False)
        world.reports.clear()

        await _restarted(world, world.job(boot_id="earlier"))
        assert (await world.ending()).exit_code == 6
        await world.supervisor.aclose(leave=False)

    run(act())


def test_an_attempt_of_another_boot_was_interrupted(run, world):
    async def act():
        world.directory().mkdir(parents=True)
        (world.directory() / "claim").write_text(json.dumps(
            {"version": 1, "pid": os.getpid(), "start_ticks": tree.read(os.getpid()).started,
             "started_at": 1.0}
        ))  # fmt: skip
        await _restarted(world, world.job(boot_id="earlier"))
        assert (await world.ending()).kind == "interrupted"  # and this process still lives
        await world.supervisor.aclose(leave=False)

    run(act())


def test_an_attempt_of_another_boot_may_have_run_although_nothing_is_left_of_it(run, world):
    async def act():
        await _restarted(world, world.job(boot_id="earlier"))
        assert (await world.ending()).kind == "interrupted"  # its claim was never synced
        await world.supervisor.aclose(leave=False)

    run(act())


def test_an_attempt_without_claim_never_ran_and_never_will(run, world):
    async def act():
        await _restarted(world, world.job())
        assert await world.report(ID) == AttemptNeverRan(ID, 1)
        assert (world.directory() / "claim").exists()
        # Even if its launch were still under way:
        world.launch("touch", str(world.home / "ran"))
        await world.until(lambda: not world.supervisor.live)
        assert not (world.home / "ran").exists()
        await world.supervisor.aclose(leave=False)

    run(act())


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"pid": 1', "\0" * 64], ids=repr)
def test_a_claim_that_says_nothing_is_interrupted(run, world, content):
    async def act():
        world.directory().mkdir(parents=True)
        (world.directory() / "claim").write_text(content)
        await _restarted(world, world.job())
        assert (await world.ending()).kind == "interrupted"
        await world.supervisor.aclose(leave=False)

    run(act())


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(run, world):
    async def act():
        innocent = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
        world.directory().mkdir(parents=True)
        (world.directory() / "claim").write_text(json.dumps(
            {"version": 1, "pid": innocent.pid, "start_ticks": 1, "started_at": 1.0}
        ))  # fmt: skip
        await _restarted(world, world.job())
        assert (await world.ending()).kind == "interrupted"
        assert _living(innocent.pid)
        innocent.kill()
        await innocent.wait()
        await world.supervisor.aclose(leave=False)

    run(act())


def test_an_outcome_that_is_not_whole_is_none(run, world):
    async def act():
        world.directory().mkdir(parents=True)
        (world.directory() / "claim").write_text("{}")
        (world.directory() / "outcome").write_bytes(b"\0" * 400)
        await _restarted(world, world.job())
        assert (await world.ending()).kind == "interrupted"
        await world.supervisor.aclose(leave=False)

    run(act())


@pytest.mark.parametrize("groups", ["on", "off"])
def test_a_keeper_that_dies_is_replaced_and_what_it_had_is_ended_and_interrupted(
    scene, monkeypatch, groups
):
    monkeypatch.setenv(protocol.CGROUPS, groups)

    async def act(world):
        script = "(setsid sh -c 'echo $$ > pid; exec sleep 600' &); sleep 600"
        world.launch("sh", "-c", script, cwd=str(world.home))
        pid, keeper = await world.pid(), world.keeper_pid()
        await world.until(
            lambda: (world.home / "pid").exists() and (world.home / "pid").read_text()
        )
        os.kill(keeper, signal.SIGKILL)
        ending = await world.ending()
        assert (ending.kind, ending.pid) == ("interrupted", pid)
        assert not _living(pid)
        assert not _living(int((world.home / "pid").read_text()))
        assert tree.read(pid) is None, "a zombie was left"

        world.launch("true", attempt=2)
        await world.until(lambda: len(world.reports) == 2)
        assert world.reports[1].ending.kind == "completed"
        assert world.keeper_pid() != keeper

    scene(act)


def test_launches_are_kept_for_the_next_keeper(scene):
    async def act(world):
        os.kill(world.keeper_pid(), signal.SIGKILL)
        for number in range(5):
            world.launch("true", id=f"next{number}")
        reports = [await world.report(f"next{number}") for number in range(5)]
        # Before it was known that the keeper is dead: certainly not run.  After: run.
        for report in reports:
            assert isinstance(report, AttemptNeverRan) or report.ending.kind == "completed"

    scene(act)


def test_neither_keeper_nor_job_has_open_what_the_daemon_has(run, world):
    """Else the lock would outlive the daemon, and so would the socket that it listens on."""

    async def act():
        with open(world.home / "lock", "w") as lock:
            os.set_inheritable(lock.fileno(), True)
            await world.supervisor.start([])
            world.launch("sleep", "600")
            for pid in (world.keeper_pid(), await world.pid()):
                opened = {entry.readlink() for entry in Path(f"/proc/{pid}/fd").iterdir()}
                assert Path("/dev/null") in opened
                assert Path(lock.name) not in opened
            await world.supervisor.aclose(leave=False)

    run(act())


def test_daemon_and_keeper_killed_together_leave_nothing_running(run, world):
    async def act():
        await world.supervisor.start([])
        world.launch("sleep", "600")
        pid, keeper = await world.pid(), world.keeper_pid()
        world.drop_connection()
        os.kill(keeper, signal.SIGKILL)
        await world.until(lambda: not _living(keeper))
        assert _living(pid)

        await _restarted(world, world.job())
        assert (await world.ending()).kind == "interrupted"
        assert not _living(pid)
        await world.supervisor.aclose(leave=False)

    run(act())


def test_a_keeper_whose_socket_is_lost_is_ended_first(run, world):
    async def act():
        await world.supervisor.start([])
        world.launch("sleep", "600")
        pid, keeper = await world.pid(), world.keeper_pid()
        world.drop_connection()
        (world.state_dir / "keeper.sock").unlink()

        await _restarted(world, world.job())
        assert (await world.ending()).kind == "interrupted"
        assert not _living(pid) and not _living(keeper)
        await world.supervisor.aclose(leave=False)

    run(act())


def test_what_the_journal_does_not_know_is_ended(run, world):
    async def act():
        await world.supervisor.start([])
        world.launch("sleep", "600")
        pid = await world.pid()
        world.drop_connection()

        await _restarted(world)
        await world.until(lambda: not _living(pid) and not world.directory().exists())
        assert world.reports == []
        await world.supervisor.aclose(leave=False)

    run(act())


def test_directories_of_settled_attempts_are_swept(run, world):
    async def act():
        for name in ("old0000000000001-1", f"{ID}-1"):
            (world.state_dir / "attempts" / name).mkdir(parents=True)
            (world.state_dir / "attempts" / name / "claim").write_text("{}")
        await _restarted(world, world.job())
        left = {path.name for path in (world.state_dir / "attempts").iterdir()}
        assert left == {f"{ID}-1"}
        await world.supervisor.aclose(leave=False)

    run(act())


def test_without_work_nothing_is_left_behind(run, world):
    async def act():
        await world.supervisor.start([])
        keeper = world.keeper_pid()
        world.launch("true")
        await world.ending()
        await world.supervisor.aclose(leave=True)
        assert tree.read(keeper) is None

    run(act())


def test_closing_without_leaving_ends_and_tells_everything(run, world):
    async def act():
        await world.supervisor.start([])
        world.launch("sh", "-c", "trap '' TERM; sleep 600")
        pid = await world.pid()
        await world.supervisor.aclose(leave=False)
        assert (await world.ending()).signal == "SIGKILL"
        assert not _living(pid)

    run(act())


def test_a_keeper_of_another_release_is_not_talked_to(run, world):
    async def act():
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(world.state_dir / "keeper.sock"))
            listener.listen()
            listener.setblocking(False)
            start = asyncio.ensure_future(world.supervisor.start([]))
            peer, _ = await asyncio.get_running_loop().sock_accept(listener)
            peer.sendall(protocol.encode({"report": "hello", "protocol": 99, "pid": 1}))
            with pytest.raises(CannotStart, match="protocol 99"):
                await start
            peer.close()
        await world.supervisor.aclose(leave=True)

    run(act())


def test_a_state_directory_may_have_a_long_path(run, world):
    world.state_dir = world.home / ("long" * 30) / ("path" * 30)
    world.state_dir.mkdir(parents=True)

    async def act():
        await _restarted(world)
        world.launch("true")
        assert (await world.ending()).kind == "completed"
        await world.supervisor.aclose(leave=False)

    run(act())


def test_only_one_daemon_is_served_at_a_time(run, world):
    async def act():
        await world.supervisor.start([])
        second = world.another()
        waiting = asyncio.ensure_future(second.start([]))
        world.launch("true")
        await world.ending()
        assert not waiting.done()
        world.drop_connection()
        await waiting
        world.supervisor = second
        await second.aclose(leave=False)

    run(act())


def test_garbage_closes_the_connection_and_disturbs_no_job(run, world):
    async def act():
        await world.supervisor.start([])
        world.launch("sleep", "600")
        pid = await world.pid()
        world.supervisor._link.closing = True
        world.supervisor._link._transport.write(b"]]]\n")
        await world.supervisor._link._parted.wait()
        await _restarted(world, world.job())
        assert world.supervisor.pid(ID) == pid
        await world.supervisor.aclose(leave=False)

    run(act())


@pytest.fixture
def small(tmp_path):
    """A file system of 512 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=512k none {place} 2>/dev/null"):
        pytest.skip("needs to mount a file system")
    yield place
    os.system(f"umount -l {place}")


def fill(place):
    with pytest.raises(OSError, match="No space"), (place / "ballast").open("wb", 0) as file:
        while True:
            file.write(b"x" * 4096)


def test_an_attempt_without_room_never_ran_and_leaves_nothing(run, world, small):
    async def act():
        world.state_dir = small
        await _restarted(world)
        fill(small)
        world.launch("true")
        report = await world.report(ID)
        assert isinstance(report, AttemptNeverRan)
        assert "No space left" in report.want
        assert list((small / "attempts").iterdir()) == []
        await world.supervisor.aclose(leave=False)

    run(act())


def test_a_probe_tells_what_a_start_would_lack(run, world, small):
    async def act():
        world.state_dir = small
        await _restarted(world)
        assert await world.probed() is None
        fill(small)
        assert "No space left" in await world.probed()
        (small / "ballast").unlink()
        assert await world.probed() is None
        assert list((small / "attempts").iterdir()) == []
        await world.supervisor.aclose(leave=False)

    run(act())


def test_a_probe_whose_keeper_died_is_answered_all_the_same(run, world):
    async def act():
        await world.supervisor.start([])
        os.kill(world.keeper_pid(), signal.SIGSTOP)
        answer = asyncio.ensure_future(world.probed())
        await asyncio.sleep(0)
        os.kill(world.keeper_pid(), signal.SIGKILL)
        assert await answer == "the keeper died"
        await world.supervisor.aclose(leave=False)

    run(act())


def test_want_of_descriptors_is_not_the_jobs_failure(run, world):
    async def act():
        await world.supervisor.start([])
        resource.prlimit(world.keeper_pid(), resource.RLIMIT_NOFILE, (3, 256))
        world.launch("true")
        report = await world.report(ID)
        assert isinstance(report, AttemptNeverRan)
        assert "Too many open files" in report.want
        assert "Too many open files" in await world.probed()
        resource.prlimit(world.keeper_pid(), resource.RLIMIT_NOFILE, (256, 256))
        assert await world.probed() is None
        await world.supervisor.aclose(leave=False)

    run(act())


def test_while_an_attempt_runs_the_room_for_its_end_is_taken(run, world):
    world.module("import pathlib, time\ndef f(go):\n"
                 "    while not pathlib.Path(go).exists(): time.sleep(0.01)\n")  # fmt: skip

    async def act():
        await world.supervisor.start([])
        world.call("jobs:f", str(world.home / "go"))
        await world.pid()
        for name, size_bytes in (
            (protocol.OUTCOME, protocol.OUTCOME_BYTES), (protocol.RESULT, protocol.RESULT_BYTES)
        ):  # fmt: skip
            there = (world.directory() / f"{name}{protocol.PART}").stat()
            assert there.st_blocks * 512 >= size_bytes
        (world.home / "go").touch()
        assert (await world.ending()).kind == "completed"
        await world.supervisor.aclose(leave=False)

    run(act())


def test_an_outcome_is_kept_although_the_disk_is_full(run, world, small):
    async def act():
        world.state_dir = small
        world.module("import time, pathlib\ndef f(go):\n"
                     "    while not pathlib.Path(go).exists(): time.sleep(0.01)\n"
                     "    return 'x' * 60000\n")  # fmt: skip
        await _restarted(world)
        world.call("jobs:f", str(world.home / "go"))
        await world.pid()
        fill(small)
        (world.home / "go").touch()
        ending = await world.ending()
        assert (ending.kind, len(ending.result)) == ("completed", 60002)
        await world.supervisor.aclose(leave=False)

    run(act())


def test_a_start_on_a_full_disk_settles_what_never_ran(run, world, small):
    """Nothing can be claimed there, and nothing has been."""

    async def act():
        world.state_dir = small
        (small / "attempts").mkdir(mode=0o700)
        with socket.socket(socket.AF_UNIX) as placeholder:  # its inode is there to be taken again
            placeholder.bind(str(small / "keeper.sock"))
        fill(small)
        await _restarted(world, world.job())
        assert isinstance(await world.report(ID), AttemptNeverRan)
        await world.supervisor.aclose(leave=False)

    run(act())


def test_settling_takes_no_time_worth_mentioning(run, world):
    async def act():
        begun = time.monotonic()
        await _restarted(world, *(world.job(id=f"many{n:012d}") for n in range(200)))
        assert len(world.reports) == 200
        assert time.monotonic() - begun < 5
        await world.supervisor.aclose(leave=False)

    run(act())


@pytest.mark.parametrize("forged", ["{}", '{"pid": "x"}', '{"exit_code": [], "callable": 3}'])
def test_an_outcome_that_a_job_has_forged_is_none(forged, run, world):
    async def act():
        await world.supervisor.start([])
        world.launch("sleep", "60")
        await world.pid()
        os.kill(world.keeper_pid(), signal.SIGSTOP)
        outcome = {"version": protocol.VERSION, "id": ID, "attempt": 1, **json.loads(forged)}
        (world.directory() / "outcome").write_text(json.dumps(outcome))
        os.kill(world.keeper_pid(), signal.SIGKILL)
        assert (await world.ending()).kind == "interrupted"

    run(act())


def test_a_bug_in_a_task_that_nobody_awaits_is_raised_by_watch(world, run, monkeypatch):
    """Else the daemon would go on without a keeper, and never start a job again."""

    def fails(_):
        raise RuntimeError("a bug")

    async def act():
        await world.supervisor.start([])
        monkeypatch.setattr("jobd.supervisor.settling.end_keepers", fails)
        os.kill(world.keeper_pid(), signal.SIGKILL)
        with pytest.raises(RuntimeError, match="a bug"):
            async with asyncio.timeout(15):
                await world.supervisor.watch()
        await world.supervisor.aclose(leave=True)

    run(act())


def test_what_the_keeper_leaves_of_a_settled_attempt_goes_too(scene):
    async def act(world):
        left = world.directory()
        world.launch("sh", "-c", f"mkdir -p {left}/deep/er; touch {left}/deep/er/file {left}/file")
        await world.ending()
        os.kill(world.keeper_pid(), signal.SIGSTOP)  # it removes nothing now
        world.settle(ID)
        await world.until(lambda: not left.exists())
        os.kill(world.keeper_pid(), signal.SIGCONT)
        world.launch("true", id="job0000000000002")
        assert (await world.ending("job0000000000002")).exit_code == 0

    scene(act)
