"""A writer that is killed at any moment has not lost what it had acknowledged."""

import random
import subprocess
import sys
import textwrap

import pytest

WRITER = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from jobd.core import ids, records
    from jobd.core.job import Policy
    from jobd.journal.store import Store

    async def write():
        store = Store.open(Path(sys.argv[1]), fsync="always", interval_s=1.0, segment_bytes=4000)
        for _ in store.recovered:
            pass
        while True:
            n = store.next_seq
            commit = [
                records.Submitted(id=ids.whole("0123456789ab", n + m), at=1.0, by="uid:0",
                                  call=b'{"n":%d}' % (n + m), policy=Policy(), run_at=1.0)
                for m in range(3)
            ]
            await store.append(n, commit)
            print(store.next_seq - 1, flush=True)

    asyncio.run(write())
    """
)


@pytest.mark.parametrize("seed", range(6))
def test_every_acknowledged_commit_outlives_kill_9(state_dir, open_store, seed, pytestconfig):
    source = str(pytestconfig.rootpath / "src")
    written = 0
    for life in range(2):  # the second one goes on where the first was killed
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(state_dir)],
            stdout=subprocess.PIPE, env={"PYTHONPATH": source},
        )  # fmt: skip
        with writer:
            for _ in range(random.Random(seed * 2 + life).randrange(1, 150)):
                written = int(writer.stdout.readline())
            writer.kill()
            rest = writer.stdout.read().split()  # acknowledged after we last looked
        written = int(rest[-1]) if rest else written
        store = open_store(state_dir)
        assert [record.call for record in store.past] == [
            b'{"n":%d}' % n for n in range(1, len(store.past) + 1)
        ]
        assert len(store.past) - written in (0, 3)  # the last one may be on its way
        store.close()
