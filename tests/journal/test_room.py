"""Who gets the room that a journal has: the store as its daemon asks it."""

import asyncio

import pytest

from jobd.clock import SystemClock
from jobd.core import ids
from jobd.core.commands import Submission, Submit
from jobd.core.engine import Engine
from jobd.core.job import Policy
from jobd.core.rules import Rules
from jobd.daemon import Daemon
from jobd.errors import StorageError

pytestmark = pytest.mark.anyio


async def test_within_one_commit_no_room_is_given_twice(open_store, state_dir, disk):
    store = open_store(state_dir, files=disk)
    store.promise(0, 0)
    room_bytes = store.stats()["room_bytes"]
    if room_bytes == 0:
        pytest.skip("this file system can't reserve room")
    disk.full = True
    daemon = Daemon(
        engine=Engine(Rules(max_running=1), boot_id="b"), journal=store, clock=SystemClock(),
        admit=lambda _: None, act=lambda _: None, announce=lambda _: None,
    )  # fmt: skip
    call = b'{"command":["true","%b"]}' % (b"x" * (room_bytes * 2 // 3))
    submissions = [
        Submission(stem=ids.stem("uid:0", name), by="uid:0", call=call, policy=Policy(), delay_s=9)
        for name in ("first", "second")
    ]
    asked = [asyncio.create_task(daemon.execute(Submit((one,)))) for one in submissions]
    await asyncio.sleep(0)  # both have asked

    await daemon.turn()

    first, second = await asyncio.gather(*asked, return_exceptions=True)
    assert [one.duplicate for one in first] == [False]
    assert isinstance(second, StorageError)
