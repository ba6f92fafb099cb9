"""A journal as years of use would leave it, written by the engine and the store themselves."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Sequence
from pathlib import Path

from jobd.config import Config, load
from jobd.core.allow import Admitted
from jobd.core.commands import AttemptEnded, Command, Submission, Submit
from jobd.core.decision import Effect, Launch
from jobd.core.engine import Engine
from jobd.core.ids import stem
from jobd.core.job import Ending
from jobd.core.moment import Moment
from jobd.journal.store import Store

BATCH = 1000
LATER_S = 86400.0


class Past:
    """Decides and records, without a process: each attempt that is launched ends at once."""

    def __init__(self, config_path: Path) -> None:
        self._config: Config = load(config_path)
        self._store = Store.open(
            self._config.daemon.state_dir, fsync="never", interval_s=1.0,
            segment_bytes=self._config.journal.segment_bytes,
        )  # fmt: skip
        assert not list(self._store.recovered), "a past is not changed"
        self._engine = Engine(self._config.rules(), boot_id="an earlier one")
        self._now = Moment(time.time() - 600, 1000.0)
        self._names = 0

    async def write(self, *, pending: int, final: int) -> None:
        for _ in range(0, pending, BATCH):
            await self._decide(self._submit(delay_s=LATER_S))
        for _ in range(0, final, BATCH):
            await self._decide(self._submit(delay_s=0))
            while self._engine.schedule.next_start_at() is not None or self._engine.running:
                await self._tick()
        counts = {str(status): n for status, n in self._engine.counts.items() if n}
        assert counts == {"pending": pending, "completed": final}, counts
        await self._store.aclose()

    def _submit(self, *, delay_s: float) -> Submit:
        return Submit(tuple(self._submission(delay_s) for _ in range(BATCH)))

    def _submission(self, delay_s: float) -> Submission:
        self._names += 1
        fields = {"target": "bench_jobs:nothing", "kwargs": {"user_id": self._names}}
        return Submission(
            stem=stem("uid:0", str(self._names)), by="uid:0", call=json.dumps(fields).encode(),
            policy=self._config.policy(fields, is_command=False), delay_s=delay_s,
        )  # fmt: skip

    async def _decide(self, *commands: Command) -> list[Effect]:
        decisions = [self._engine.decide(command, self._now) for command in commands]
        decisions.append(self._engine.tick(self._now, lambda _: Admitted(None), lambda _: True))
        facts = [fact for decision in decisions for fact in decision.facts]
        if facts:
            records = [fact.record for fact in facts]
            await self._store.append(facts[0].seq, records, self._engine.promised_bytes)
        effects = [effect for decision in decisions for effect in decision.effects]
        await self._end(effects)
        return effects

    async def _tick(self) -> None:
        self._now = Moment(self._now.wall + 0.01, self._now.boot + 0.01)
        await self._decide()

    async def _end(self, effects: Sequence[Effect]) -> None:
        ended = [self._ended(one) for one in effects if isinstance(one, Launch)]
        if ended:
            await self._decide(*ended)

    def _ended(self, launch: Launch) -> AttemptEnded:
        ending = Ending(
            kind="completed", pid=4711, ended_at=self._now.wall, exit_code=0, cpu_time=0.02,
            max_rss=12 << 20, result=b'{"sent":true}',
        )  # fmt: skip
        return AttemptEnded(launch.id, launch.attempt, ending, jitter=0.0)


def write_past(config_path: Path, *, pending: int, final: int) -> None:
    gc.disable()  # it would look through all of the past again and again
    try:
        asyncio.run(Past(config_path).write(pending=pending, final=final))
    finally:
        gc.enable()
