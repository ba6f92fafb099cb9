"""Many lives of jobd, each with every accident.  A failure prints its seed: the bug report."""

import asyncio

from simulated.world import World


def test_whatever_happens_nothing_is_lost_and_everything_settles(seed, tmp_path):
    asyncio.run(World(seed, tmp_path).live())
