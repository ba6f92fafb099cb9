"""How commands start and end: everything that a program can do to its supervisor."""

import json
import os
import signal
import stat
import sys

import pytest

from jobd.keeper import tree

PROBE = """
import json, os, signal, sys
print(json.dumps({
    "fds": sorted(int(n) for n in os.listdir("/proc/self/fd")),
    "stdin": os.readlink("/proc/self/fd/0"),
    "session": os.getsid(0) == os.getpid(), "group": os.getpgid(0) == os.getpid(),
    "status": open("/proc/self/status").read(), "env": dict(os.environ), "cwd": os.getcwd(),
}))
"""


def test_a_command_completes_and_its_output_is_in_files(scene):
    async def act(world):
        world.launch("sh", "-c", "echo out; echo err >&2")
        ending = await world.ending()
        assert (ending.kind, ending.exit_code, ending.signal) == ("completed", 0, None)
        assert ending.pid and ending.ended_at and ending.cpu_time >= 0
        assert world.text("stdout") == "out\n"
        assert world.text("stderr") == "err\n"

    scene(act)


def test_a_job_starts_clean(scene, world):
    world.options["env"] = {"PATH": "/bin", "GREETING": "hi"}

    async def act(world):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        world.launch(
            sys.executable, "-I", "-S", "-c", PROBE, cwd="/usr", timeout=60.0,
            call={"env": {"MINE": "1"}},
        )  # fmt: skip
        assert (await world.ending()).kind == "completed"
        seen = json.loads(world.text())
        assert seen["fds"][:3] == [0, 1, 2] and len(seen["fds"]) <= 4  # the listing's own
        assert seen["stdin"] == "/dev/null"
        assert seen["session"] and seen["group"]
        status = dict(line.split(":\t", 1) for line in seen["status"].splitlines() if ":\t" in line)
        assert int(status["SigBlk"], 16) == 0
        # Python itself ignores SIGPIPE (13) and SIGXFSZ (25); nothing else may be.
        assert int(status["SigIgn"], 16) & ~(1 << 12 | 1 << 24) == 0
        assert seen["cwd"] == "/usr"
        deadline = float(seen["env"].pop("JOBD_DEADLINE"))
        assert 0 < deadline - world.reports[0].ending.ended_at <= 60.0 + 0.1
        seen["env"].pop("LC_CTYPE", None)  # Python's own, under the C locale
        assert seen["env"] == {
            "PATH": "/bin", "GREETING": "hi", "MINE": "1", "JOBD_SOCKET": world.settings().socket,
            "JOBD_JOB_ID": "job0000000000001", "JOBD_ATTEMPT": "1",
        }  # fmt: skip

    try:
        scene(act)
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_signals_of_a_plain_program_are_all_default(scene):
    async def act(world):
        world.launch("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
        assert (await world.ending()).kind == "completed"
        assert {line.split("\t")[1] for line in world.text().splitlines()} == {"0" * 16}

    scene(act)


def test_a_large_descriptor_table_of_the_daemon_is_not_inherited(scene):
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
    for fd in fds:
        os.set_inheritable(fd, True)

    async def act(world):
        world.launch("ls", "/proc/self/fd")
        assert (await world.ending()).kind == "completed"
        assert world.text().split() == ["0", "1", "2", "3"]

    try:
        scene(act)
    finally:
        for fd in fds:
            os.close(fd)


def test_an_exit_code_is_kept(scene):
    async def act(world):
        world.launch("sh", "-c", "exit 7")
        ending = await world.ending()
        assert (ending.kind, ending.exit_code) == ("exit", 7)

    scene(act)


def test_a_signal_is_told_by_name(scene):
    async def act(world):
        world.launch("sh", "-c", "kill -SEGV $$")
        ending = await world.ending()
        assert (ending.kind, ending.signal, ending.exit_code) == ("signal", "SIGSEGV", None)

    scene(act)


@pytest.mark.parametrize(
    ("argv", "program", "code", "says"),
    [
        (["nope"], "/no/such/program", 127, "No such file"),
        (["dir"], "/usr", 126, "Permission denied"),
        (["data"], "/etc/passwd", 126, "Permission denied"),
        (["below"], "/etc/passwd/x", 127, "Not a directory"),
    ],
)
def test_a_program_that_cannot_start_says_why(scene, argv, program, code, says):
    async def act(world):
        world.launch(*argv, program=program)
        ending = await world.ending()
        assert (ending.kind, ending.exit_code) == ("spawn", code)
        assert program in ending.message and says in ending.message

    scene(act)


@pytest.mark.parametrize(
    ("text", "says"), [("no header", "neither an executable"), ("#!/no/sh\n", "interpreter")]
)
def test_a_script_that_cannot_start_says_why(scene, text, says):
    async def act(world):
        script = world.home / "script"
        script.write_text(text)
        script.chmod(0o700)
        world.launch(str(script))
        ending = await world.ending()
        assert (ending.kind, ending.exit_code) == ("spawn", 126)
        assert says in ending.message

    scene(act)


def test_a_bad_directory_is_told_apart_from_a_bad_program(scene):
    async def act(world):
        world.launch("true", cwd="/no/such/place")
        ending = await world.ending()
        assert (ending.kind, ending.exit_code) == ("spawn", None)
        assert "cwd /no/such/place: No such file" in ending.message

    scene(act)


def test_bytes_that_are_no_utf8_reach_the_program(scene, world):
    world.options["env"] = {"ODD": "caf\udce9"}

    async def act(world):
        world.launch("/bin/sh", "-c", 'printf %s "$ODD"')
        assert (await world.ending()).kind == "completed"
        path = world.log_dir / "output/jo/job0000000000001/1.stdout"
        assert path.read_bytes() == b"caf\xe9"

    scene(act)


def test_files_of_an_attempt_are_private_and_go_when_it_is_settled(scene):
    async def act(world):
        id = world.launch("true")
        await world.ending()
        assert {p.name for p in world.directory().iterdir()} == {"claim", "outcome"}
        output = world.log_dir / "output" / "jo" / id
        for path in (*world.directory().iterdir(), *output.iterdir()):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for path in (world.directory(), output, output.parent, output.parent.parent):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        world.settle(id)
        await world.until(lambda: not world.directory().exists())

    scene(act)


def test_who_ignores_the_stop_signal_is_killed(scene):
    async def act(world):
        id = world.launch("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done")
        pid = await world.pid()
        await world.until(lambda: world.text() == "ready\n")
        world.stop(id)
        world.kill(id)
        ending = await world.ending()
        assert (ending.kind, ending.signal) == ("signal", "SIGKILL")
        assert tree.read(pid) is None

    scene(act)


def test_the_stop_signal_is_the_policys_own(scene):
    async def act(world):
        id = world.launch(
            "sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done"
        )
        await world.pid()
        await world.until(lambda: world.text() == "ready\n")
        world.stop(id, "SIGUSR1")
        assert (await world.ending()).exit_code == 9

    scene(act)


def test_a_flood_of_output_goes_to_the_file_and_not_through_anybody(scene):
    async def act(world):
        world.launch("sh", "-c", "yes | head -c 20000000")
        assert (await world.ending()).kind == "completed"
        assert len(world.text()) == 20_000_000

    scene(act)


def test_memory_of_a_job_is_its_own(scene):
    async def act(world):
        ballast = bytearray(64 << 20)
        world.launch("true", id="small")
        world.launch(sys.executable, "-c", "b'x' * (90 << 20)", id="large")
        small, large = await world.ending("small"), await world.ending("large")
        assert ballast and small.max_rss < 16 << 20
        assert 90 << 20 < large.max_rss < 140 << 20

    scene(act)


def test_many_at_once_all_end(scene):
    async def act(world):
        for number in range(100):
            world.launch("sh", "-c", f"exit {number}", id=f"many{number:012d}")
        for number in range(100):
            ending = await world.ending(f"many{number:012d}")
            assert ending.exit_code == number
        assert world.supervisor.live == 0

    scene(act)
