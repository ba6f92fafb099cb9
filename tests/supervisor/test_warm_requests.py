"""When the supervisor asks its keeper for a warm interpreter, and what it makes of the answer."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from jobd.keeper import protocol


class ScriptedKeeper:
    """Stands where the supervisor looks for a keeper; writes down what it is asked."""

    def __init__(self, world) -> None:
        self._path = world.state_dir / protocol.SOCKET
        self._processes: list[subprocess.Popen[bytes]] = []
        self._writer: asyncio.StreamWriter | None = None
        self.lives = 0
        self.asked: list[dict[str, Any]] = []

    async def listen(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One life of it, with a process by which it is known."""
        self._writer = writer
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        self._processes.append(process)
        self.lives += 1
        self.say(
            {"report": "hello", "protocol": protocol.VERSION, "pid": process.pid, "attempts": []}
        )
        while line := await reader.readline():
            self.asked.append(protocol.decode(line))
        process.kill()
        writer.close()

    def say(self, message: dict[str, Any]) -> None:
        assert self._writer is not None
        self._writer.write(protocol.encode(message))

    def die(self) -> None:
        assert self._writer is not None
        self._writer.transport.abort()

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def keeper(world) -> Iterator[ScriptedKeeper]:
    keeper = ScriptedKeeper(world)
    yield keeper
    keeper.close()


@pytest.fixture
def played(world, keeper, run):
    """Plays an async function with a supervisor that has found the scripted keeper."""

    def play(act) -> None:
        async def whole() -> None:
            await keeper.listen()
            await world.supervisor.start([])
            try:
                await act()
            finally:
                await world.supervisor.aclose(leave=True)
                keeper._server.close()

        run(whole())

    return play


def runtime(key: str) -> dict[str, Any]:
    return {"key": key, "program": sys.executable, "env": {}, "path": [], "preload": []}


def test_a_keeper_is_asked_for_it_before_anything_else(played, world, keeper) -> None:
    world.options["runtime"] = runtime("first")

    async def act() -> None:
        world.launch("true")
        await world.until(lambda: len(keeper.asked) == 2)
        warm, launch = keeper.asked
        assert warm == {"request": "warm", "runtime": runtime("first")}
        assert launch["request"] == "launch"

    played(act)


def test_a_keeper_is_told_that_there_is_to_be_none(played, world, keeper) -> None:
    async def act() -> None:
        await world.until(lambda: keeper.asked)
        assert keeper.asked == [{"request": "warm", "runtime": None}]

    played(act)


def test_it_is_asked_for_again_with_the_settings_of_then(played, world, keeper) -> None:
    world.options["runtime"] = runtime("first")

    async def act() -> None:
        world.options["runtime"] = runtime("second")
        world.supervisor.warm()
        await world.until(lambda: len(keeper.asked) == 2)
        assert [asked["runtime"]["key"] for asked in keeper.asked] == ["first", "second"]

    played(act)


def test_a_new_keeper_is_asked_once_whatever_was_asked_meanwhile(played, world, keeper) -> None:
    world.options["runtime"] = runtime("first")

    async def act() -> None:
        await world.until(lambda: keeper.asked)
        keeper.die()
        await world.until(lambda: world.supervisor._link is None)
        world.options["runtime"] = runtime("second")
        world.supervisor.warm()
        world.launch("true")
        await world.until(lambda: len(keeper.asked) == 3)
        assert keeper.lives == 2
        assert keeper.asked[1] == {"request": "warm", "runtime": runtime("second")}
        assert keeper.asked[2]["request"] == "launch"

    played(act)


def test_what_became_of_it_is_logged(played, world, keeper, caplog) -> None:
    caplog.set_level(logging.INFO)
    reports = [
        {"key": "a", "pid": 4711, "why": None, "warnings": ["app.db has a thread"]},
        {"key": "b", "pid": None, "why": "no module named app", "warnings": []},
        {"key": None, "pid": None, "why": None, "warnings": []},  # none was asked for
    ]

    async def act() -> None:
        for report in reports:
            keeper.say({"report": "warm", **report})
        keeper.say({"report": "probed", "why": None})
        keeper.say({"report": "pong"})
        await world.supervisor._pong.wait()

    played(act)
    told = [(r.levelname, r.getMessage()) for r in caplog.records if "warm" in r.getMessage()]
    assert told == [
        ("WARNING", "warm_warning text='app.db has a thread'"),
        ("INFO", "warm_ready pid=4711"),
        ("WARNING", "warm_refused why='no module named app'"),
    ]
