"""Callables, from the engine's launch to the ending that it is told."""

import json
import os

import pytest

from jobd.supervisor.ending import ending_of

pytestmark = pytest.mark.usefixtures("start")

ENDED = {
    "callable": True, "pid": 7, "started_at": 1.0, "exit_code": 0, "signal": None, "cpu_time": 0.1,
    "max_rss": 1,
}  # fmt: skip


def test_a_callable_completes_with_its_value(scene):
    async def act(world):
        world.module("def f(*a, **k): return [a, k]")
        world.call("jobs:f", 1, "é", kwargs={"x": None})
        ending = await world.ending()
        assert (ending.kind, ending.exit_code) == ("completed", 0)
        assert ending.result == '[[1,"é"],{"x":null}]'.encode()

    scene(act)


def test_its_arguments_show_in_no_process_list(scene):
    async def act(world):
        world.module(
            "def f(*a): return [open(f'/proc/self/{n}').read() for n in ('cmdline', 'environ')]"
        )
        world.call("jobs:f", "secret-argument")
        assert b"secret" not in (await world.ending()).result

    scene(act)


def test_an_exception_is_told(scene):
    async def act(world):
        world.module("def f(): raise ValueError('bad\\udcff')")
        world.call("jobs:f")
        ending = await world.ending()
        assert (ending.kind, ending.exit_code) == ("exception", 1)
        assert ending.message.startswith("ValueError: bad")
        assert "line 1, in f" in ending.traceback

    scene(act)


def test_what_a_wildcard_should_not_have_admitted_is_unauthorized(scene, world):
    world.options["patterns"] = ["jobs:*"]

    async def act(world):
        world.module("from os import system")
        world.call("jobs:system", f"touch {world.home}/ran", exact=False)
        ending = await world.ending()
        assert ending.kind == "unauthorized"
        assert "posix" in ending.message
        assert not (world.home / "ran").exists()

    scene(act)


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ("os._exit(0)", "exit", "code 0 before the callable had returned"),
        ("os._exit(4)", "exit", "code 4"),
        ("os.kill(os.getpid(), 9)", "signal", "SIGKILL"),
        ("sys.exit(5)", "exit", "code 5"),
        ("sys.exit('words')", "exit", "words"),
        ("atexit.register(os._exit, 6)", "exit", "code 6 after it had returned"),
        ("sys.exit()", "completed", ""),
    ],
)
def test_however_the_process_ends_it_is_told(scene, body, kind, says):
    async def act(world):
        world.module(f"import atexit, os, sys\ndef f(): {body}")
        world.call("jobs:f")
        ending = await world.ending()
        assert ending.kind == kind
        assert says in ending.message

    scene(act)


def test_a_missing_interpreter_is_a_failed_spawn(scene, world):
    world.options["python"] = "/no/such/python"

    async def act(world):
        world.call("jobs:f")
        ending = await world.ending()
        assert (ending.kind, ending.exit_code) == ("spawn", 127)

    scene(act)


def test_the_arguments_of_a_callable_may_be_large(scene):
    async def act(world):
        world.module("def f(x): return len(x)")
        world.call("jobs:f", "x" * (7 << 20))
        assert (await world.ending()).result == str(7 << 20).encode()

    scene(act)


@pytest.mark.parametrize(
    "left",
    [
        "", "]", "[]", "null", "{}", '{"ok":NaN}', '{"ok":1e400}', '{"ok":' + "9" * 5000 + "}",
        '{"ok":' + "[" * 60000, '{"ok":"\\ud800"}', '{"exception":{}}', '{"exception":3}',
        '{"ok":"' + "x" * 70000 + '"}', '{"unauthorized":[]}', "\0" * 100,
    ],
    ids=lambda text: repr(text[:20]),
)  # fmt: skip
def test_no_forged_result_completes_a_job_or_disturbs_the_daemon(left):
    assert ending_of(ENDED, left).kind in ("exit", "exception")


@pytest.mark.parametrize("value", [0, -1, 2.5, "", [], {}, None, True, [[1, {"a": "]}"}]]])
def test_every_value_survives(value):
    ending = ending_of(ENDED, json.dumps({"ok": value}))
    assert ending.kind == "completed"
    assert json.loads(ending.result) == value
    assert type(json.loads(ending.result)) is type(value)


def test_a_result_that_is_no_plain_file_is_none(scene):
    async def act(world):
        world.module(
            "import os, sys\ndef f(): os.mkfifo(os.environ['WHERE'] + '/result'); os._exit(0)"
        )
        world.options["python_env"] = {"WHERE": str(world.directory())}
        world.call("jobs:f")
        assert (await world.ending()).kind == "exit"

    scene(act)


@pytest.mark.parametrize(
    "prank",
    [
        "os.makedirs(WHERE + '/sub/deeper')", "os.mkdir(WHERE + '/outcome')",
        "os.unlink(WHERE + '/outcome.part'); os.mkfifo(WHERE + '/outcome.part')",
        "shutil.rmtree(WHERE)", "os.mkfifo(WHERE + '/claim2')",
    ],
)  # fmt: skip
def test_whatever_a_job_does_to_its_directory_costs_nobody_else_the_keeper(scene, prank):
    async def act(world):
        world.module(
            f"import os, shutil\nWHERE = os.environ['WHERE']\ndef f(): {prank}; os._exit(3)"
        )
        world.options["python_env"] = {"WHERE": str(world.directory())}
        world.launch("sleep", "60", id="job0000000000002")
        pid, keeper = await world.pid("job0000000000002"), world.keeper_pid()
        world.call("jobs:f")
        assert (await world.ending()).exit_code == 3
        world.settle("job0000000000001")
        await world.until(lambda: not world.directory().exists())
        world.launch("true", id="job0000000000003")
        assert (await world.ending("job0000000000003")).kind == "completed"
        assert (world.keeper_pid(), world.supervisor.pid("job0000000000002")) == (keeper, pid)

    scene(act)


def test_a_result_that_is_a_directory_costs_the_keeper_no_descriptor(scene):
    async def act(world):
        world.module("import os\ndef f(): os.mkdir(os.environ['WHERE'] + '/result'); os._exit(0)")
        world.options["python_env"] = {"WHERE": str(world.directory())}
        world.launch("sleep", "60", id="job0000000000002")
        await world.pid("job0000000000002")
        await world.warm()
        opened = len(os.listdir(f"/proc/{world.keeper_pid()}/fd"))
        world.call("jobs:f")
        assert (await world.ending()).kind == "exit"
        assert len(os.listdir(f"/proc/{world.keeper_pid()}/fd")) == opened

    scene(act)
