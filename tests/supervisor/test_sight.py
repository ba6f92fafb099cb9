"""When an attempt last wrote something: never told by a clock alone, and nothing counts twice."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.core.decision import Look
from jobd.core.moment import Moment
from jobd.supervisor import sight

WALL = 1_700_000_000.0
START = Moment(WALL, 100.0)
NONE = (0, 0)


def at(boot, step=0.0):
    """That instant, with a wall clock that is `step` ahead of what it was at the start."""
    return Moment(WALL + boot - 100.0 + step, boot)


def wrote(size, moment):
    """A file as that instant left it."""
    return (size, round(moment.wall * 1e9))


def seen(*looks, before=None):
    """What the last of several looks says, to the microsecond."""
    before = before or sight.of_new(START)
    for found, now in looks:
        before = sight.later(before, found, now)
    return None if before.seen_at is None else round(before.seen_at, 6)


def test_of_what_never_wrote_nothing_is_known():
    assert seen(((NONE, NONE), at(110)), ((NONE, NONE), at(120))) is None


def test_a_file_that_was_written_says_when():
    assert seen(((wrote(5, at(103)), NONE), at(110))) == 103
    assert seen(((wrote(5, at(103)), wrote(1, at(108))), at(110))) == 108


def test_a_file_that_is_as_it_was_has_not_been_written_whatever_the_clock_says_now():
    found = (wrote(5, at(103)), NONE)
    for step in (0.0, -50.0, 50.0, 7.0):
        assert seen((found, at(110)), (found, at(120, step)), (found, at(130, step))) == 103


@pytest.mark.parametrize("step", [-3600.0, -5.0, 5.0, 3600.0])
def test_a_clock_that_was_set_after_the_writing_ages_nothing(step):
    assert seen(((wrote(5, at(108)), NONE), at(110, step))) >= 108


@pytest.mark.parametrize("step", [-3600.0, -5.0, 5.0, 3600.0])
def test_a_clock_that_was_set_before_the_writing_ages_nothing(step):
    assert seen(((wrote(5, at(108, step)), NONE), at(110, step))) >= 108


def test_what_grew_at_no_possible_time_grew_since_the_last_look():
    early = wrote(5, at(20))
    assert seen(((early, NONE), at(110))) == 110
    assert seen(((early, NONE), at(110)), ((early, NONE), at(120))) == 110, "once, not for ever"


def test_of_one_that_was_taken_over_only_what_changes_counts():
    found = (wrote(500, at(50)), wrote(3, at(90)))
    before = sight.Sight(found, START, None)
    assert seen((found, at(110)), before=before) is None
    assert seen(((wrote(501, at(104)), found[1]), at(110)), before=before) == 104


def test_files_that_are_gone_or_hidden_are_as_empty_ones(tmp_path):
    (tmp_path / "out").touch()
    (tmp_path / "file").write_text("x")
    paths = [str(tmp_path / "out"), str(tmp_path / "no"), str(tmp_path / "file" / "x")]
    assert sight.files(paths) == (NONE, NONE, NONE)


STEPS = st.sampled_from([0.0, 0.0, 0.0, -3600.0, -7.0, 3.0, 7.0, 3600.0])


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["wait", "write", "look"]), STEPS), max_size=40))
def test_nothing_written_is_overlooked_and_nothing_is_seen_twice(story):
    """However the clock is set: between two looks at most once, and between times unchanged."""
    boot, step, size, file = 100.0, 0.0, 0, NONE
    last_write = None
    shown, looks = sight.of_new(START), [None]
    unsettled = False  # the clock was set more than once since the last look
    for what, more in story:
        boot += 5.0
        if more and not unsettled:
            step, unsettled = step + more, True
        if what == "write":
            size, last_write = size + 1, boot
            file = wrote(size, at(boot, step))
        elif what == "look":
            written = file != shown.files[0]
            shown = sight.later(shown, (file, NONE), at(boot, step))
            unsettled = False
            if last_write is None:
                assert shown.seen_at is None
            else:
                assert shown.seen_at >= last_write - 1e-3, "it was written later"
            if not written:
                assert shown.seen_at == looks[-1], "nothing was written since"
            looks.append(shown.seen_at)
    assert all(a is None or a <= b + 1e-3 for a, b in pairwise(looks))


# On real files.


def test_a_look_at_a_real_attempt_tells_when_it_last_wrote(scene):
    async def act(world):
        started = world.supervisor._now()
        id = world.launch("sh", "-c", "sleep 0.2; echo x; exec sleep 600", idle_timeout=1.0)
        await world.pid()
        world.supervisor.act(Look(id, 1, started))
        await world.until(lambda: world.looks)
        assert world.looks.pop().seen_at is None
        await world.until(lambda: world.text())
        world.supervisor.act(Look(id, 1, started))
        await world.until(lambda: world.looks)
        look = world.looks.pop()
        assert started.boot + 0.2 - 0.02 <= look.seen_at <= look.at
        world.kill(id)
        await world.ending()

    scene(act)


def test_a_look_at_an_attempt_that_is_over_says_nothing(scene):
    async def act(world):
        id = world.launch("true")
        await world.ending()
        world.supervisor.act(Look(id, 1, START))
        other = world.launch("sleep", "600", id="job0000000000002")
        world.supervisor.act(Look(other, 1, START))
        await world.until(lambda: world.looks)
        assert [look.id for look in world.looks] == [other]
        world.kill(other)
        await world.ending(other)

    scene(act)


def test_what_a_next_daemon_takes_over_has_written_nothing_yet(run, world):
    async def act():
        await world.supervisor.start([])
        id = world.launch("sh", "-c", "echo before; exec sleep 600", idle_timeout=1.0)
        await world.until(lambda: (world.log_dir / "output").exists() and world.supervisor.pid(id))
        await world.until(lambda: world.text())
        world.drop_connection()
        world.supervisor = world.another()
        await world.supervisor.start([world.job(idle_timeout=1.0)])
        taken = world.supervisor._now()
        world.supervisor.act(Look(id, 1, taken))
        await world.until(lambda: world.looks)
        assert world.looks.pop().seen_at is None
        path = world.log_dir / "output" / id[:2] / id / "1.stderr"
        os.write(fd := os.open(path, os.O_WRONLY | os.O_APPEND), b"after")
        os.close(fd)
        world.supervisor.act(Look(id, 1, taken))
        await world.until(lambda: world.looks)
        assert world.looks.pop().seen_at >= taken.boot - 0.02
        world.kill(id)
        await world.ending()
        await world.supervisor.aclose(leave=False)

    run(act())
