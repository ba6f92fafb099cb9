"""`jobctl top` on a terminal, driven by its keys: textual's own pilot, no terminal needed."""

import asyncio
import time

import pytest
from textual.widgets import Log, OptionList, Static

from jobd.cli.top.asking import CancelQuestion, Help
from jobd.cli.top.following import Follow
from jobd.cli.top.screen import Jobs, Top

JOB, SECOND = "a" * 16, "b" * 16


class World:
    """What the daemon would tell; a test changes it."""

    def __init__(self, daemon, document):
        self.daemon, self.document = daemon, document
        self.jobs = {JOB: {"label": "first"}, SECOND: {"label": "second"}}
        daemon.on("stats", lambda *_: {
            "jobs": {"pending": 3}, "running": len(self.jobs), "max_running": 4, "held": None,
        })  # fmt: skip
        daemon.on("list", lambda *_: {
            "jobs": [self.told(id) for id in self.jobs], "cursor": None
        })  # fmt: skip
        daemon.on("status", lambda params, _: self.told(params["id"]))
        daemon.on("logs", self.logs)

    def told(self, id):
        running = {"status": "running", "finished_at": None} if id in self.jobs else {}
        attempts = [{"attempt": 1, "pid": None}]
        fields = {"timeout": 600, "attempts": attempts, **self.jobs.get(id, {}), **running}
        return self.document(id=id, **fields)

    def logs(self, params, say):
        piece = {"attempt": 1, "data": "", "offset": "1.0", "eof": False, "skipped": 0,
                 "lossy": False}  # fmt: skip
        if not params.get("follow"):
            return {**piece, "data": "last words\n" if "tail" in params else ""}
        say("log", {**piece, "data": "first\n\x1b[31mred\x1b[0m \x07 漢字\nunfin"})
        say("log", {**piece, "data": "ished\n"})
        return {**piece, "eof": True}


@pytest.fixture
def world(daemon, document):
    return World(daemon, document)


@pytest.fixture
def live(world):
    """Runs a scene: an async function of (app, pilot)."""

    def run(scene, size=(80, 24)):
        async def played():
            app = Top(world.daemon.path, 0.1)
            async with app.run_test(size=size) as pilot:
                await until(pilot, lambda: isinstance(app.screen, Jobs) and shown(app))
                await scene(app, pilot)

        asyncio.run(played())

    return run


async def until(pilot, condition, limit_s=10):
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit, "it never came"
        await pilot.pause(0.02)


def listed(app):
    return app.screen_stack[1].query_one(OptionList)


def shown(app):
    return [option.prompt.plain for option in listed(app).options]


def text(app, selector):
    return str(app.screen.query_one(selector, Static).content)


def asked(world, method):
    return [params for name, params in world.daemon.all_asked() if name == method]


def test_each_running_job_has_its_lines_and_they_change(live, world):
    async def scene(app, pilot):
        first, _ = shown(app)
        assert JOB in first and "first" in first and "last words" in first
        assert "2 of 4 running, 3 waiting" in text(app, "#summary")
        world.jobs[SECOND]["progress"] = {"fraction": 0.4, "message": "page 2 of 5"}
        await until(pilot, lambda: "40%" in shown(app)[1])
        assert "page 2 of 5 · last words" in shown(app)[1]

    live(scene)


def test_the_chosen_job_stays_chosen_when_others_come_and_go(live, world):
    async def scene(app, pilot):
        await pilot.press("down")
        await until(pilot, lambda: listed(app).highlighted == 1)
        world.jobs = {"c" * 16: {"label": "third"}, **world.jobs}
        await until(pilot, lambda: len(shown(app)) == 3)
        at = listed(app).highlighted
        assert listed(app).options[at].id == SECOND
        del world.jobs[SECOND]
        await until(pilot, lambda: len(shown(app)) == 2)
        assert listed(app).highlighted is not None

    live(scene)


@pytest.mark.parametrize(("key", "sent"), [("y", {"id": SECOND}),
                                           ("k", {"id": SECOND, "force": True})])  # fmt: skip
def test_a_cancel_asks_first(live, world, key, sent):
    world.daemon.on("cancel", {"id": SECOND, "status": "cancelled"})

    async def scene(app, pilot):
        await pilot.press("j", "c")
        await until(pilot, lambda: isinstance(app.screen, CancelQuestion))
        assert not asked(world, "cancel")
        await pilot.press("enter")
        assert isinstance(app.screen, CancelQuestion)
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, Jobs))
        told = []
        await until(pilot, lambda: told.extend(asked(world, "cancel")) or told)
        assert told == [sent]

    live(scene)


@pytest.mark.parametrize("key", ["n", "escape", "q"])
def test_a_no_cancels_nothing(live, world, key):
    async def scene(app, pilot):
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, CancelQuestion))
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, Jobs))
        assert not asked(world, "cancel")

    live(scene)


@pytest.mark.parametrize("key", ["f", "enter"])
def test_output_is_followed_and_left_again(live, world, key):
    async def scene(app, pilot):
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, Follow))
        output = app.screen.query_one(Log)
        await until(pilot, lambda: len(output.lines) >= 3)
        assert list(output.lines)[:3] == ["first", "red \\x07 漢字", "unfinished"]
        await until(pilot, lambda: "(running)" in text(app, "#title"))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, Jobs))

    live(scene)


def test_what_is_followed_can_be_cancelled(live, world):
    world.daemon.on("cancel", {"id": JOB, "status": "cancelled"})

    async def scene(app, pilot):
        await pilot.press("f")
        await until(pilot, lambda: isinstance(app.screen, Follow))
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, CancelQuestion))
        await pilot.press("y")
        told = []
        await until(pilot, lambda: told.extend(asked(world, "cancel")) or told)
        assert told == [{"id": JOB}]

    live(scene)


def test_help_comes_and_goes(live):
    async def scene(app, pilot):
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, Help))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, Jobs))

    live(scene)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_it_ends_when_asked_to(live, key):
    async def scene(app, pilot):
        await pilot.press(key)
        await until(pilot, lambda: not app.is_running)

    live(scene)


def test_a_daemon_that_goes_is_told_and_looked_for_again(live, world):
    async def scene(app, pilot):
        world.daemon.stop()
        app.screen._asked_at -= 10  # as if it had been silent for so long
        await until(pilot, lambda: "no answer from jobd" in text(app, "#summary"))
        world.daemon.start()
        await until(pilot, lambda: "running" in text(app, "#summary"))

    live(scene)


def test_keys_on_an_empty_list_do_nothing(live, world):
    async def scene(app, pilot):
        world.jobs = {}
        await until(pilot, lambda: shown(app) == [])
        await pilot.press("c", "f", "j", "k", "enter")
        assert isinstance(app.screen, Jobs)

    live(scene)


@pytest.mark.parametrize("size", [(30, 8), (80, 24), (200, 50)])
def test_markup_and_wide_characters_break_nothing(live, world, size):
    world.jobs = {JOB: {"label": "[bold]漢字[/] \x1b[31m" + "語" * 100}}

    async def scene(app, pilot):
        [only] = shown(app)
        assert JOB in only
        first, second = only.split("\n")
        assert "[bold]" in first or size[0] < 80
        assert "last words" in second

    live(scene, size)
