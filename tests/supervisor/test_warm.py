"""Warm interpreters: what a fork gives is what an exec gives, and nobody depends on their lives."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from jobd.core.job import Limits
from jobd.keeper import tree

INSIDE = """
import os, random, signal, sys
def f():
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGPIPE: signal.SIG_IGN,
             signal.SIGXFSZ: signal.SIG_IGN}
    return {
        "parent": os.getppid(), "leads": os.getsid(0) == os.getpid() == os.getpgid(0),
        "fds": sorted(os.listdir("/proc/self/fd")), "input": os.readlink("/proc/self/fd/0"),
        "mask": list(mask), "umask": os.umask(0), "cwd": os.getcwd(), "argv": sys.argv,
        "handlers": [n for n in signal.valid_signals() - {9, 19}
                     if signal.getsignal(n) not in (usual.get(n, signal.SIG_DFL), None)],
        "env": dict(os.environ), "pid": os.getpid(), "path": sys.path, "flags": list(sys.flags),
        "inherited": subprocess_env(), "random": random.random(), "main": sorted(MAIN),
        "comm": open("/proc/self/comm").read().strip(),
        "cmdline": open("/proc/self/cmdline").read().strip("\\0").replace("\\0", " "),
    }
def subprocess_env():
    import subprocess
    return subprocess.run(["env"], stdout=subprocess.PIPE, check=True).stdout.decode().split()
MAIN = [n for n in vars(sys.modules["__main__"]) if not n.startswith("__")]
"""
ID = "job0000000000001"


async def _value(world, id=ID):
    ending = await world.ending(id)
    assert ending.kind == "completed", ending
    return json.loads(ending.result)


def _living(pid):
    process = tree.read(pid)
    return process is not None and process.living


async def _held(world, call):
    """A launch that the interpreter was asked for, and is not let do yet."""
    await world.warm()
    warm = await world.warm_pid()
    os.kill(warm, signal.SIGSTOP)
    call()
    world.supervisor._send({"request": "ping"})
    await world.supervisor.alive()
    return warm


def test_a_job_finds_itself_as_if_it_had_been_executed(scene, world):
    world.options["env"] = {"PATH": os.environ["PATH"], "GREETING": "hi"}

    async def act(world):
        world.module(INSIDE)
        world.call("jobs:f", id="job000000000exec")
        executed = await _value(world, "job000000000exec")
        world.fork()
        await world.warm()
        world.call("jobs:f", id="job000000000fork")
        forked = await _value(world, "job000000000fork")
        assert executed["parent"] == forked["parent"] == world.keeper_pid()
        assert forked["cmdline"] == "jobd: jobs:f"
        assert forked["comm"] == "f"
        differ = {name for name in executed if executed[name] != forked[name]}
        assert differ <= {"pid", "env", "inherited", "random", "cmdline", "comm", "umask"}
        assert forked["umask"] == 0o022
        for one, id in ((executed, "exec"), (forked, "fork")):
            assert one["env"].pop("JOBD_JOB_ID") == f"job000000000{id}"
        assert executed["env"] == forked["env"]
        assert not [line for line in forked["inherited"] if "warm" in line or "KEEPER" in line]

    scene(act)


def test_a_preloaded_module_may_put_something_else_in_place_of_stdout(scene, world):
    async def act(world):
        world.module(
            "import sys\nclass Other:\n write = sys.stdout.write\n flush = sys.stdout.flush\n"
            " closed = False\nsys.stdout = Other()\n", "other",
        )  # fmt: skip
        world.module("def f(): print('said')")
        world.fork(preload=["other"])
        await world.warm()
        world.call("jobs:f")
        assert (await world.ending()).kind == "completed"
        assert world.text() == "said\n"

    scene(act)


def test_its_processes_are_known_by_the_kernels_own_record(scene, world):
    world.fork()

    async def act(world):
        world.module("import time\ndef f(): time.sleep(600)")
        await world.warm()
        world.call("jobs:f")
        pid = await world.pid()
        assert tree.marker(pid) == (world.settings().socket, ID, 1)
        assert not [v for v in tree.environment(pid) if v.startswith(b"JOBD_KEEPER")]
        world.stop(ID)
        ending = await world.ending()
        assert (ending.kind, ending.signal) == ("signal", "SIGTERM")

    scene(act)


def test_a_changed_module_is_picked_up_by_the_next_job(scene, world):
    world.fork()

    async def act(world):
        for n in range(3):
            world.module(f"def f(): return {n}, {'x' * n!r}")
            world.call("jobs:f", id=f"job{n}")
            assert await _value(world, f"job{n}") == [n, "x" * n]

    scene(act)


def test_what_is_preloaded_is_imported_once_until_the_key_changes(scene, world):
    async def act(world):
        world.module("import os\nBY = os.getpid()\nRANDOM = None", "heavy")
        world.module("import heavy\ndef f(): return heavy.BY")
        world.fork(preload=["heavy"])
        await world.warm()
        first = await world.warm_pid()
        for id in ("one", "two"):
            world.call("jobs:f", id=id)
            assert await _value(world, id) == first
        world.fork("2", preload=["heavy"])
        world.warmth.clear()
        await world.warm()
        second = await world.warm_pid()
        await world.until(lambda: not _living(first))
        world.call("jobs:f", id="three")
        assert await _value(world, "three") == second != first

    scene(act)


def test_a_launch_that_names_another_interpreter_than_serves_is_executed(scene, world):
    """It was sent before a reload, or by a daemon that is there no more."""
    world.fork("1")

    async def act(world):
        world.module("def f(): return open('/proc/self/cmdline').read()")
        await world.warm()
        world.fork("2")  # and nobody has told the keeper
        world.call("jobs:f")
        assert "main.py" in await _value(world)
        assert [said["key"] for said in world.warmth] == ["1"]
        assert _living(await world.warm_pid())

    scene(act)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("from threading import *\nt = Timer(600, print); t.name = 'ticker'; t.start()", "ticker"),
        ("import no_such_thing", "no_such_thing"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import os; os._exit(7)", "code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
    ],
)  # fmt: skip
def test_what_can_not_be_preloaded_is_told_and_jobs_are_executed(scene, world, source, says):
    world.module(source, "heavy")
    world.fork(preload=["heavy"])

    async def act(world):
        world.module("def f(): return open('/proc/self/cmdline').read()")
        world.call("jobs:f")
        assert "main.py" in await _value(world)
        assert says in world.warmth[0]["why"]
        assert world.warmth[0]["pid"] is None

    scene(act)


def test_open_descriptors_of_preloaded_modules_are_warned_of(scene, world):
    world.module("import os\nFILE = open('/etc/passwd')", "heavy")
    world.fork(preload=["heavy"])

    async def act(world):
        world.module("import os\ndef f(): return sorted(os.listdir('/proc/self/fd'))")
        await world.warm()
        assert "/etc/passwd" in world.warmth[0]["warnings"][0]
        world.call("jobs:f")
        assert await _value(world) == ["0", "1", "2", "3"]  # the last is the look itself

    scene(act)


def test_what_preloaded_modules_hold_open_counts_against_no_job(scene, world):
    world.module("HELD = [open('/dev/null') for _ in range(40)]", "heavy")
    world.fork(preload=["heavy"])

    async def act(world):
        world.module("import os\ndef f(): return sorted(os.listdir('/proc/self/fd'))")
        await world.warm()
        world.call("jobs:f", limits=Limits(open_files=16))
        assert await _value(world) == ["0", "1", "2", "3"]
        assert world.warmth[0]["warnings"][10:] == ["and 30 more like these"]

    scene(act)


@pytest.mark.parametrize("name", ["x", "\N{ZOMBIE}" * 1000])
def test_however_much_there_is_to_tell_it_is_told(scene, world, name):
    source = (
        "import threading\nfor n in range(400):\n"
        f" t = threading.Timer(600, print); t.name = {name!r} * 9; t.daemon = True; t.start()"
    )
    world.module(source, "heavy")
    world.fork(preload=["heavy"])

    async def act(world):
        world.supervisor.warm()
        await world.until(lambda: world.warmth)
        assert world.warmth[0]["why"].endswith("and 390 more")

    scene(act)


def test_killing_it_under_load_loses_nothing_and_runs_nothing_twice(scene, world):
    world.fork()

    async def act(world):
        world.module(
            "import os\ndef f(n):\n"
            " fd = os.open(f'{os.environ[\"RAN\"]}/{n}', os.O_CREAT | os.O_EXCL)\n return n"
        )
        ran = world.home / "ran"
        ran.mkdir()
        world.options["python_env"] = {"RAN": str(ran)}
        await world.warm()
        for n in range(40):
            world.call("jobs:f", n, id=f"job{n}")
            if n % 4 == 3:
                pid = world.warmth[-1]["pid"]
                await world.until(lambda n=n: len(world.reports) >= n - 3)
                if pid is not None and _living(pid):
                    os.kill(pid, signal.SIGKILL)
        for n in range(40):
            assert await _value(world, f"job{n}") == n
        assert len(os.listdir(ran)) == 40

    scene(act)


def test_one_that_is_stopped_is_replaced(scene, world):
    world.fork()

    async def act(world):
        world.module("def f(): return 1")
        warm = await _held(world, lambda: world.call("jobs:f"))
        assert await _value(world) == 1
        assert any("answer" in (said["why"] or "") for said in world.warmth)
        await world.until(lambda: not _living(warm))

    scene(act)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_who_is_stopped_while_being_launched_is_stopped_then(scene, world, how):
    world.fork()

    async def act(world):
        world.module("import time\ndef f(): time.sleep(600)")
        warm = await _held(world, lambda: world.call("jobs:f"))
        getattr(world, how)(ID)
        os.kill(warm, signal.SIGCONT)
        ending = await world.ending()
        assert ending.signal == {"stop": "SIGTERM", "kill": "SIGKILL"}[how]

    scene(act)


def test_the_next_daemon_takes_over_what_is_being_launched(run, world):
    world.fork()

    async def act():
        await world.supervisor.start([])
        world.module("def f(): return 1")
        warm = await _held(world, lambda: world.call("jobs:f"))
        world.drop_connection()
        world.supervisor = world.another()
        await world.supervisor.start([world.job()])
        assert world.supervisor.pid(ID) is None
        os.kill(warm, signal.SIGCONT)
        assert await _value(world) == 1
        await world.supervisor.aclose(leave=False)

    run(act())


def test_its_keepers_death_is_its_own_and_leaves_no_process(scene, world):
    world.fork()

    async def act(world):
        world.module("import time\ndef f(): time.sleep(600)")
        await world.warm()
        warm = await world.warm_pid()
        world.call("jobs:f")
        await world.pid()
        os.kill(world.keeper_pid(), signal.SIGKILL)
        assert (await world.ending()).kind == "interrupted"
        await world.until(lambda: tree.read(warm) is None)

    scene(act)


def test_a_stray_that_hides_is_killed_and_the_interpreter_is_not(scene, world):
    world.fork()

    async def act(world):
        world.module(
            "import os, subprocess\ndef f():\n subprocess.Popen(['setsid', 'sleep', '600'], env={})"
            "\n return os.getpid()"
        )
        await world.warm()
        for id in ("one", "two"):
            world.call("jobs:f", id=id)
            await _value(world, id)
        assert _living(await world.warm_pid())
        assert len(world.warmth) == 1
        keeper = world.keeper_pid()
        assert [p.pid for p in tree.scan().values() if p.parent == keeper] == [
            await world.warm_pid()
        ]

    scene(act)


@pytest.mark.parametrize(
    "body",
    [
        "import asyncio; return asyncio.run(asyncio.sleep(0, 7))",
        "import subprocess; return int(subprocess.run(['echo', '7'], stdout=-1).stdout)",
        "import threading; t = threading.Timer(0, abs, (7,)); t.start(); t.join(); return 7",
        *(f"import multiprocessing as m\n with m.get_context({how!r}).Pool(1) as p: "
          "return p.apply(abs, (-7,))" for how in ("spawn", "fork", "forkserver")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("preload", [[], ["multiprocessing.pool", "asyncio"]], ids=["", "loaded"])
def test_a_job_may_use_all_of_python(scene, world, body, preload):
    world.fork(preload=preload)

    async def act(world):
        world.module(f"def f():\n {body}")
        await world.warm()
        world.call("jobs:f")
        assert await _value(world) == 7

    scene(act)


def test_what_a_job_leaves_open_is_written_and_finalised(scene, world):
    world.fork()

    async def act(world):
        world.module(
            "import atexit, os, sys, threading, time, heavy\nOUT = open('left', 'w')\n"
            "sys.modules['lazy'] = type('Lazy', (), {})\n"
            "class Last:\n"
            " def __del__(self): os.write(1, b'deleted\\n')\n"
            "LAST = Last()\n"
            "def f():\n"
            " OUT.write('written'); heavy.OUT = open('heavy', 'w'); heavy.OUT.write('too')\n"
            " threading.Thread(target=lambda: (time.sleep(0.05), print('joined'))).start()\n"
            " atexit.register(print, 'atexit')"
        )
        world.module("", "heavy")
        world.fork(preload=["heavy"])
        await world.warm()
        world.call("jobs:f", cwd=str(world.home))
        await _value(world)
        assert (world.home / "left").read_text() == "written"
        assert (world.home / "heavy").read_text() == "too"
        assert world.text() == "joined\natexit\ndeleted\n"

    scene(act)


def _older():
    found = (shutil.which(f"python3.{minor}") for minor in (8, 9, 10, 12, 13))
    return [p for p in found if p and not subprocess.run([p, "-c", ""], check=False).returncode]


@pytest.mark.parametrize("python", _older() or [sys.executable], ids=os.path.basename)
def test_an_interpreter_of_another_release_without_jobd_serves(scene, world, python):
    world.options["python"] = python
    world.module("from jobd import current_job", "heavy")
    world.fork(preload=["heavy"])

    async def act(world):
        world.module(
            "import os, sys, heavy\ndef f(): return [os.getppid(), heavy.current_job.id, "
            "sorted(os.listdir('/proc/self/fd')), list(sys.version_info[:2])]"
        )
        await world.warm()
        world.call("jobs:f")
        parent, id, fds, _ = await _value(world)
        assert (parent, id, fds) == (world.keeper_pid(), ID, ["0", "1", "2", "3"])

    scene(act)
