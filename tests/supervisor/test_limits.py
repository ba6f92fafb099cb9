"""What a tree may use: kept by the kernel where it can, measured where it can't."""

import json
import os
import sys

import pytest

from jobd.core.job import Limits
from jobd.keeper import protocol

MIB = 1 << 20
# On a kernel in a program (`make controllers`) each page that is touched first takes half a ms.
SCALE = float(os.environ.get("JOBD_TESTS_MEMORY_SCALE", "1"))
FILL = "import time; kept = b'x' * ({} << 20); print('full', flush=True)"


@pytest.fixture(params=["on", "off"], ids=["group", "no_group"], autouse=True)
def groups(request, monkeypatch):
    monkeypatch.setenv(protocol.CGROUPS, request.param)


def fill(mib):
    """What fills so much memory, and says so."""
    return FILL.format(int(mib * SCALE))


def python(source):
    return [sys.executable, "-I", "-S", "-c", source]


def test_who_fills_more_memory_than_it_may_is_ended_and_the_others_do_not_notice(scene):
    async def act(world):
        world.launch("sleep", "600", id="bystander")
        bystander = await world.pid("bystander")
        source = fill(600) + "; time.sleep(600)"
        world.launch(*python(source), limits=Limits(memory=int(120 * SCALE) * MIB))
        ending = await world.ending()
        assert (ending.kind, ending.signal) == ("memory", "SIGKILL")
        assert world.supervisor.pid("bystander") == bystander
        world.kill("bystander")
        await world.ending("bystander")

    scene(act)


def test_who_stays_within_its_memory_is_let_alone(scene):
    async def act(world):
        source = fill(60) + "; time.sleep(0.3)"
        world.launch(*python(source), limits=Limits(memory=int(120 * SCALE) * MIB))
        assert (await world.ending()).kind == "completed"
        assert world.text() == "full\n"

    scene(act)


def test_what_is_shared_counts_once(scene):
    """Ten forks of 60 MiB are no 600 MiB while none of them writes to it."""

    async def act(world):
        source = fill(60) + (
            "; import os; forks = [os.fork() for _ in range(3)]; time.sleep(0.3)"
            "; [os.waitpid(pid, 0) for pid in forks if pid]"
        )
        world.launch(*python(source), limits=Limits(memory=int(150 * SCALE) * MIB))
        assert (await world.ending()).kind == "completed"

    scene(act)


def test_memory_is_the_whole_trees(scene):
    async def act(world):
        one = f'{sys.executable} -I -S -c "{fill(70)}; time.sleep(600)" & '
        world.launch("sh", "-c", one * 3 + "wait", limits=Limits(memory=int(150 * SCALE) * MIB))
        assert (await world.ending()).kind == "memory"

    scene(act)


def test_processor_time_is_the_whole_trees(scene):
    async def act(world):
        burn = f"{sys.executable} -I -S -c 'while True: pass' & "
        world.launch("sh", "-c", burn * 2 + "wait", limits=Limits(cpu_time=0.3))
        ending = await world.ending()
        assert ending.kind == "cpu_time"
        assert 0.3 <= ending.cpu_time < 2

    scene(act)


def test_who_sleeps_uses_no_processor_time(scene):
    async def act(world):
        world.launch("sleep", "1.5", limits=Limits(cpu_time=1))
        assert (await world.ending()).kind == "completed"

    scene(act)


def test_a_fork_bomb_is_ended(scene):
    async def act(world):
        world.launch("sh", "-c", "while :; do sleep 600 & done", limits=Limits(processes=20))
        ending = await world.ending()
        # Where the kernel counts, its fork fails; else it is killed.
        assert ending.kind == "exit" or ending.crowded

    scene(act)


def test_a_limit_binds_the_job_and_not_the_keeper_that_makes_it(scene, start):
    """`nice` makes it a full fork of the keeper, in the job's group."""

    async def act(world):
        keeper = world.keeper_pid()
        await world.warm()
        world.launch("true", id="one", limits=Limits(processes=1, nice=1))
        assert (await world.ending("one")).kind == "completed"
        world.module("def f(): kept = b'x' * (200 << 20)")
        source = fill(200)
        world.launch(*python(source), id="two", limits=Limits(memory=1 * MIB, nice=1))
        assert (await world.ending("two")).kind == "memory"
        world.call("jobs:f", id="three", limits=Limits(memory=1 * MIB, nice=1))
        assert (await world.ending("three")).kind == "memory"
        world.call("jobs:g", id="four", limits=Limits(processes=1, nice=1))
        assert (await world.ending("four")).kind == "exception"
        assert world.keeper_pid() == keeper

    scene(act)


def test_files_and_niceness_are_set_before_the_program_begins(scene):
    async def act(world):
        limits = Limits(open_files=17, nice=3, cpu_time=40)
        world.launch("sh", "-c", "ulimit -n; ulimit -Hn; nice; ulimit -t", limits=limits)
        assert (await world.ending()).kind == "completed"
        assert world.text().split() == ["17", "17", str(os.nice(0) + 3), "42"]

    scene(act)


def test_the_kernel_would_take_a_job_before_its_keeper(scene):
    async def act(world):
        world.launch("cat", "/proc/self/oom_score_adj")
        await world.ending()
        with open(f"/proc/{world.keeper_pid()}/oom_score_adj") as file:
            assert int(world.text()) >= min(int(file.read()) + 200, 1000)

    scene(act)


def test_a_keeper_that_measures_nobody_does_not_wake(scene):
    def switches(pid):
        with open(f"/proc/{pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("voluntary"))

    async def act(world):
        world.launch("sleep", "600")
        await world.pid()
        world.launch("sleep", "0.4", id="clock")
        await world.pid("clock")
        before = switches(world.keeper_pid())
        await world.ending("clock")
        assert switches(world.keeper_pid()) - before <= 6
        world.kill("job0000000000001")
        await world.ending()

    scene(act)


def test_a_fork_gets_the_limits_that_an_exec_gets(scene, start):
    async def act(world):
        world.module(
            "import os, resource as r\ndef f(): return [r.getrlimit(r.RLIMIT_NOFILE), "
            "r.getrlimit(r.RLIMIT_CPU), os.nice(0)]"
        )
        await world.warm()
        world.call("jobs:f", limits=Limits(open_files=17, cpu_time=40.5, nice=3))
        told = json.loads((await world.ending()).result)
        assert told == [[17, 17], [43, 44], os.nice(0) + 3]

    scene(act)


def test_a_limit_that_can_not_be_set_is_a_failed_spawn(scene, start):
    async def act(world):
        await world.warm()
        world.call("jobs:f", limits=Limits(open_files=1 << 30))
        ending = await world.ending()
        assert (ending.kind, ending.exit_code) == ("spawn", None)
        assert ending.message == f"{sys.executable}: its limits can't be set here"
        if start == "fork":
            assert len(world.warmth) == 1  # the interpreter serves on

    scene(act)
