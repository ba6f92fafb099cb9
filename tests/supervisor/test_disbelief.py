"""What settling does not believe: files that are gone or forged, and a /proc that can't be read."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import jobd
from jobd.keeper import protocol, tree
from jobd.supervisor.settling import Orphan, settle

ID = "job0000000000001"
SRC = str(Path(jobd.__file__).parents[1])
NASTY = [[], {}, "x", 1.5, float("nan"), 10**40, -1, 0, 1, True, None]


def living(pid):
    process = tree.read(pid)
    return process is not None and process.living


async def restarted(world, *jobs, boot_id="this"):
    world.drop_connection()
    world.supervisor = world.another(boot_id)
    await world.supervisor.start(jobs)


async def launched_with_a_stray(world):
    """The pid of a process that left the session of its job."""
    script = "(setsid sh -c 'echo $$ > stray; exec sleep 600' &); sleep 600"
    world.launch("sh", "-c", script, cwd=str(world.home))
    await world.pid()
    file = world.home / "stray"
    await world.until(lambda: file.exists() and file.read_text())
    return int(file.read_text())


@pytest.fixture
def frozen(world):
    """Stops the keeper, so that it neither writes nor tells, and kills it when called again."""

    def freeze(number=signal.SIGSTOP):
        os.kill(world.keeper_pid(), number)

    return freeze


@pytest.mark.parametrize("restart", [False, True])
def test_an_attempt_whose_files_are_gone_did_run_if_its_process_lives(run, world, restart):
    async def act():
        await world.supervisor.start([])
        world.launch("sleep", "600")
        pid, keeper = await world.pid(), world.keeper_pid()
        shutil.rmtree(world.state_dir / "attempts")
        os.kill(keeper, signal.SIGKILL)
        if restart:
            world.reports.clear()
            await restarted(world, world.job())
        ending = await world.ending()
        assert ending.kind == "interrupted"
        assert not living(pid)
        await world.supervisor.aclose(leave=False)

    run(act())


def test_processes_are_known_by_the_socket_that_they_were_started_with(run, world):
    async def act():
        await world.supervisor.start([])
        stray = await launched_with_a_stray(world)
        world.options["socket"] = str(world.home / "another.sock")
        await restarted(world, world.job())
        os.kill(world.keeper_pid(), signal.SIGKILL)
        assert (await world.ending()).kind == "interrupted"
        assert not living(stray)
        await world.supervisor.aclose(leave=False)

    run(act())


@pytest.mark.parametrize("value", NASTY, ids=repr)
def test_whatever_a_job_writes_into_its_claim_it_is_ended_and_nobody_else(
    run, world, frozen, value
):
    async def act():
        await world.supervisor.start([])
        world.launch("sleep", "600")
        pid = await world.pid()
        frozen()
        claim = world.directory() / "claim"
        for name in ("pid", "start_ticks", "socket"):
            claim.write_text(json.dumps({**json.loads(claim.read_text()), name: value}))
        frozen(signal.SIGKILL)
        assert (await world.ending()).kind == "interrupted"
        assert not living(pid)
        await world.supervisor.aclose(leave=False)

    run(act())


@pytest.mark.parametrize("name", ["pid", "ended_at", "exit_code", "signal", "cpu_time", "max_rss"])
@pytest.mark.parametrize("value", NASTY[:-1], ids=repr)
def test_whatever_a_job_writes_into_its_outcome_can_be_recorded(tmp_path, name, value):
    from jobd.core.job import Ending
    from jobd.supervisor.ending import read_outcome

    outcome = {
        "version": protocol.VERSION, "id": ID, "attempt": 1, "pid": 77, "started_at": 1.0,
        "ended_at": 2.0, "exit_code": 0, "signal": None, "cpu_time": 0.1, "max_rss": 1 << 20,
        "callable": False,
    }  # fmt: skip
    (tmp_path / "outcome").write_text(json.dumps(outcome))
    assert read_outcome(str(tmp_path), ID, 1) is not None

    (tmp_path / "outcome").write_text(json.dumps({**outcome, name: value}))
    ending = read_outcome(str(tmp_path), ID, 1)
    if ending is not None:
        facts = {field: getattr(ending, field) for field in Ending.__dataclass_fields__}
        facts.pop("result")
        json.dumps(facts, allow_nan=False)
        assert type(ending.pid) is int
        assert type(ending.exit_code) in {int, type(None)}


def test_an_outcome_is_none_while_the_process_lives_that_it_tells_of(run, world, frozen):
    async def act():
        await world.supervisor.start([])
        world.launch("sleep", "600")
        pid = await world.pid()
        frozen()
        outcome = {
            "version": protocol.VERSION, "id": ID, "attempt": 1, "pid": pid, "started_at": 1.0,
            "ended_at": 2.0, "exit_code": 0, "signal": None, "cpu_time": 0.1, "max_rss": 1,
            "callable": False,
        }  # fmt: skip
        (world.directory() / "outcome").write_text(json.dumps(outcome))
        frozen(signal.SIGKILL)
        assert (await world.ending()).kind == "interrupted"
        assert not living(pid)
        await world.supervisor.aclose(leave=False)

    run(act())


@pytest.fixture
def without_descriptors():
    """Called, the process can open nothing more; called again, it can."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def limit(*, lift=False):
        soft = before[0] if lift else 0
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))

    yield limit
    limit(lift=True)


def test_processes_that_cannot_be_seen_are_not_gone(tmp_path, without_descriptors, caplog):
    marker = tree.Marker(str(tmp_path), ID, 1)
    env = {protocol.SOCKET_PATH: marker.socket, protocol.JOB_ID: ID, protocol.ATTEMPT: "1"}
    (tmp_path / "claim").touch()
    told, stop = [], threading.Event()
    with subprocess.Popen(["sleep", "600"], env={**os.environ, **env}) as process:
        without_descriptors()
        orphan = Orphan(marker, str(tmp_path), this_boot=True)
        settling = threading.Thread(
            target=settle, args=([orphan], lambda *what: told.append(what), stop)
        )
        settling.start()
        while "attempts_not_seen" not in caplog.text:
            settling.join(0.005)
            assert settling.is_alive()
        assert not told
        without_descriptors(lift=True)
        settling.join(15)
        process.wait(15)  # settling has reaped it: it was our child
        assert not living(process.pid)
    [(_, ending)] = told
    assert ending.kind == "interrupted"


def test_what_cannot_be_ended_holds_back_its_own_attempt_alone(tmp_path):
    """Its process is deaf to SIGKILL: it is another user's, and settled without the right to."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs to be root, to give that right up")
    orphans = []
    for id in (ID, "job0000000000002"):
        (tmp_path / id).mkdir()
        (tmp_path / id / "claim").touch()
        orphans.append(Orphan(tree.Marker(str(tmp_path), id, 1), str(tmp_path / id), True))
    env = {protocol.SOCKET_PATH: str(tmp_path), protocol.JOB_ID: ID, protocol.ATTEMPT: "1"}
    source = (
        f"""if True:
        import threading
        from jobd.keeper.tree import Marker
        from jobd.supervisor.settling import Orphan, settle
        orphans = [Orphan(Marker(*marker), *rest) for marker, *rest in {orphans!r}]
        settle(orphans, lambda orphan, _: print(orphan.marker.id, flush=True), threading.Event())
    """.replace("Orphan(marker=Marker(", "((")
        .replace("socket=", "")
        .replace("id=", "")
    )
    source = source.replace("attempt=", "").replace("directory=", "").replace("this_boot=", "")
    other = ["setpriv", "--reuid=65534", "--clear-groups", "sleep", "600"]
    powerless = [
        "setpriv",
        "--bounding-set=-kill",
        "--inh-caps=-kill",
        sys.executable,
        "-c",
        source,
    ]
    with (
        subprocess.Popen(other, env={**os.environ, **env}) as deaf,
        subprocess.Popen(
            powerless, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": SRC}
        ) as settling,
    ):
        assert settling.stdout.readline().strip() == "job0000000000002"
        assert living(deaf.pid)
        deaf.kill()
        assert settling.stdout.readline().strip() == ID
        assert settling.wait(15) == 0


def test_a_keeper_without_descriptors_tells_of_no_end_until_it_sees(run, world):
    async def act():
        await world.supervisor.start([])
        stray = await launched_with_a_stray(world)
        keeper = world.keeper_pid()
        before = resource.prlimit(keeper, resource.RLIMIT_NOFILE)
        resource.prlimit(keeper, resource.RLIMIT_NOFILE, (3, before[1]))  # poll takes two
        world.kill(ID)
        await world.until(lambda: "can't be seen" in (world.log_dir / "keeper.log").read_text())
        assert not world.reports
        resource.prlimit(keeper, resource.RLIMIT_NOFILE, before)
        assert (await world.ending()).signal == "SIGKILL"
        assert not living(stray)
        await world.supervisor.aclose(leave=False)

    run(act())
