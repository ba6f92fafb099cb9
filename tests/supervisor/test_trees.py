"""An attempt is over when its whole tree is gone, wherever its processes went."""

import os
import signal
import sys

import pytest

from jobd.keeper import cgroup, protocol, tree

GROUPS = cgroup.find(f"/tests-{os.getpid()}")
no_groups_here = pytest.mark.skipif(GROUPS is None, reason="no control groups may be made here")

# Root may leave a control group, as may who owns the groups above.
LEAVE = "true" if GROUPS is None else f"echo 0 > {os.path.dirname(GROUPS.home)}/cgroup.procs"
ESCAPES = {
    "in the background": "sleep 600 & echo $! > {pid}",
    "in a session of its own": "setsid sh -c 'echo $$ > {pid}; exec sleep 600' &",
    "forked twice": "(setsid sh -c 'echo $$ > {pid}; exec sleep 600' &) ",
    "out of the group": f"setsid sh -c '{LEAVE}; echo $$ > {{pid}}; exec sleep 600' &",
    "with an environment of its own": "env -i setsid sh -c 'echo $$ > {pid}; exec sleep 600' &",
    "out of the group, with an environment of its own": (
        f"env -i setsid sh -c '{LEAVE}; echo $$ > {{pid}}; exec sleep 600' &"
    ),
    "deaf": "(trap '' TERM HUP INT; echo ready; sleep 600) & echo $! > {pid}",
}


@pytest.fixture(
    params=[pytest.param("on", marks=no_groups_here), "off"],
    ids=["group", "no_group"],
    autouse=True,
)
def groups(request, monkeypatch):
    """Both ways to know who belongs to an attempt."""
    monkeypatch.setenv(protocol.CGROUPS, request.param)
    return request.param


def _escape(world, how):
    pid_file = world.home / "pid"
    # The main process waits for the other to be there: else it may never have been.
    return f"{how.format(pid=pid_file)}\nwhile ! [ -s {pid_file} ]; do sleep 0.005; done", pid_file


def _living(pid):
    process = tree.read(pid)
    return process is not None and process.living


@pytest.mark.parametrize("how", ESCAPES.values(), ids=ESCAPES)
def test_who_is_left_behind_is_killed_before_the_end_is_told(scene, how):
    async def act(world):
        script, pid_file = _escape(world, how)
        world.launch("sh", "-c", script)
        assert (await world.ending()).kind == "completed"
        assert not _living(int(pid_file.read_text()))

    scene(act)


@pytest.mark.parametrize("how", list(ESCAPES.values())[:4], ids=list(ESCAPES)[:4])
def test_it_is_found_among_other_attempts_that_run(scene, how):
    async def act(world):
        world.launch("sleep", "600", id="bystander")
        bystander = await world.pid("bystander")
        script, pid_file = _escape(world, how)
        world.launch("sh", "-c", script)
        assert (await world.ending()).kind == "completed"
        assert not _living(int(pid_file.read_text()))
        assert _living(bystander)
        world.kill("bystander")
        await world.ending("bystander")

    scene(act)


def test_strays_may_be_left_alone(scene, world):
    world.options["stray"] = "leave"

    async def act(world):
        script, pid_file = _escape(world, ESCAPES["in a session of its own"])
        world.launch("sh", "-c", script)
        assert (await world.ending()).kind == "completed"
        pid = int(pid_file.read_text())
        assert _living(pid)
        world.options["stray"] = "kill"
        world.launch("true", id="later")
        await world.ending("later")
        assert _living(pid)

    scene(act)


def test_a_kill_reaches_who_left_the_group(scene):
    async def act(world):
        script, pid_file = _escape(world, ESCAPES["forked twice"])
        id = world.launch("sh", "-c", f"{script}; sleep 600")
        await world.until(lambda: pid_file.exists() and pid_file.read_text())
        world.kill(id)
        assert (await world.ending()).signal == "SIGKILL"
        assert not _living(int(pid_file.read_text()))

    scene(act)


def test_after_a_stop_the_tree_has_its_grace_although_the_main_process_is_gone(scene):
    worker = "trap 'sleep 0.2; echo saved; exit' TERM; echo ready; while :; do sleep 0.01; done"

    async def act(world):
        id = world.launch("sh", "-c", f'sh -c "{worker}" & wait')
        await world.pid()
        await world.until(lambda: world.text() == "ready\n")
        world.stop(id)
        assert (await world.ending()).signal == "SIGTERM"
        assert world.text() == "ready\nsaved\n"

    scene(act)


def test_when_the_grace_is_over_a_kill_ends_what_is_left(scene):
    async def act(world):
        id = world.launch("sh", "-c", "(trap '' TERM; echo ready; sleep 600) & wait")
        pid = await world.pid()
        await world.until(lambda: world.text() == "ready\n")
        world.stop(id)
        await world.until(lambda: not _living(pid))
        assert not world.reports
        world.kill(id)
        assert (await world.ending()).signal == "SIGTERM"

    scene(act)


def test_processor_time_of_orphans_counts(scene):
    burn = "import time\nwhile time.process_time() < 0.2: pass"

    async def act(world):
        path = world.log_dir / "output/jo/job0000000000001/1.stdout"
        orphan = f'(({sys.executable} -S -c "{burn}"; echo done) &)'
        world.launch("sh", "-c", f"{orphan}; while ! [ -s {path} ]; do sleep 0.01; done")
        assert (await world.ending()).cpu_time >= 0.2

    scene(act)


def test_no_zombies_pile_up_while_another_tree_lingers(scene):
    async def act(world):
        id = world.launch("sh", "-c", "(trap '' TERM; echo ready; exec sleep 600) & wait")
        main = await world.pid()
        await world.until(lambda: world.text() == "ready\n")
        world.stop(id)
        await world.until(lambda: not _living(main))  # and it is not reaped before its tree ends
        pids = world.home / "pids"
        orphans = f"for i in 1 2 3 4 5; do (setsid sh -c 'echo $$ >> {pids}' &); done"
        world.launch("sh", "-c", f"{orphans}; exec sleep 600", id="bystander")
        await world.until(lambda: pids.exists() and len(pids.read_text().split()) == 5)
        await world.until(lambda: not any(map(tree.read, map(int, pids.read_text().split()))))
        assert tree.read(main)
        for one in (id, "bystander"):
            world.kill(one)
            await world.ending(one)

    scene(act)


def test_a_fork_storm_is_ended(scene):
    async def act(world):
        storm = "(setsid sh -c 'while :; do sleep 0.01 & wait; done' &)"
        world.launch("sh", "-c", f"for i in 1 2 3 4 5 6 7 8; do {storm}; done; exit 3")
        assert (await world.ending()).exit_code == 3
        marked = [
            p for p in tree.scan().values() if str(world.state_dir) in (tree.marker(p.pid) or "")
        ]
        assert not [p for p in marked if p.living]

    scene(act)


@pytest.mark.parametrize("ends", ["stop", "kill"])
@pytest.mark.parametrize("how", ESCAPES.values(), ids=ESCAPES)
def test_a_deaf_one_that_forked_twice_and_left_is_gone_after_a_timeout_and_a_cancel(
    scene, how, ends
):
    """As the engine does it: a stop, and when the grace is over a kill; or the kill at once."""

    async def act(world):
        script, pid_file = _escape(world, how.replace("exec sleep", "trap '' TERM; sleep"))
        id = world.launch("sh", "-c", f"trap '' TERM\n{script}\nwhile :; do sleep 600; done")
        await world.until(lambda: pid_file.exists() and pid_file.read_text())
        if ends == "stop":
            world.stop(id)
        world.kill(id)
        assert (await world.ending()).signal == "SIGKILL"
        assert not _living(int(pid_file.read_text()))

    scene(act)


@pytest.mark.parametrize("how", ["with an environment of its own", "out of the group, {}"])
def test_who_may_be_left_over_is_told_by_pid_and_ends_with_the_last(scene, groups, caplog, how):
    """Outside a group, one that left session and environment behind could be either's."""
    hidden = groups == "off" or "out" in how

    async def act(world):
        world.launch("sleep", "600", id="bystander")
        await world.pid("bystander")
        escape = ESCAPES[how.format("with an environment of its own")]
        script, pid_file = _escape(world, escape)
        world.launch("sh", "-c", script)
        ending = await world.ending()
        pid = int(pid_file.read_text())
        told = f"pids={pid}" in caplog.text
        assert (ending.kind, _living(pid), told) == ("completed", hidden, hidden)
        world.kill("bystander")
        await world.ending("bystander")
        assert not _living(pid)

    scene(act)


@no_groups_here
def test_who_hides_in_his_own_group_is_no_others_stray(scene, caplog, groups):
    """He lives on while another attempt ends."""

    async def act(world):
        hides = ESCAPES["with an environment of its own"].removesuffix("&")
        script, pid_file = _escape(world, f"({hides} &)")
        world.launch("sh", "-c", f"until [ -s {pid_file} ]; do sleep 0.01; done")
        await world.pid()
        world.launch("sh", "-c", f"{script}\nexec sleep 600", id="bystander")
        assert (await world.ending()).kind == "completed"
        pid = int(pid_file.read_text())
        assert _living(pid)
        assert ("pids=" in caplog.text) == (groups == "off")
        world.kill("bystander")
        await world.ending("bystander")
        assert not _living(pid)

    scene(act)


@no_groups_here
def test_nothing_of_the_groups_is_left(run, world, monkeypatch):
    monkeypatch.setenv(protocol.CGROUPS, "on")
    home = cgroup.find(str(world.state_dir)).home

    async def act():
        await world.supervisor.start([])
        for id in ("job0000000000001", "job0000000000002"):
            world.launch("sh", "-c", "sleep 600 & sleep 600", id=id)
            await world.pid(id)
        assert sorted(e.name for e in os.scandir(home) if e.is_dir()) == [
            "job0000000000001-1", "job0000000000002-1",
        ]  # fmt: skip
        for id in ("job0000000000001", "job0000000000002"):
            world.kill(id)
            await world.ending(id)
            world.settle(id)
        await world.supervisor.aclose(leave=True)
        assert not os.path.exists(home)

    run(act())


@no_groups_here
def test_members_are_known_by_their_group_when_the_keeper_was_killed(run, world, monkeypatch):
    """Not even an environment and a session of its own hide them from the next one."""
    monkeypatch.setenv(protocol.CGROUPS, "on")

    async def act():
        await world.supervisor.start([])
        world.launch("sleep", "600", id="bystander")
        script, pid_file = _escape(world, ESCAPES["with an environment of its own"])
        world.launch("sh", "-c", f"{script}\nsleep 600")
        await world.pid()
        await world.until(lambda: pid_file.exists() and pid_file.read_text())
        os.kill(world.keeper_pid(), signal.SIGKILL)
        assert (await world.ending()).kind == "interrupted"
        assert not _living(int(pid_file.read_text()))
        await world.ending("bystander")
        await world.supervisor.aclose(leave=False)

    run(act())
