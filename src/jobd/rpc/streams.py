"""`events` and `unsubscribe`: what becomes of jobs, told as it is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from jobd.core.decision import Fact
from jobd.rpc.backend import Backend
from jobd.rpc.call import Call
from jobd.rpc.documents import EVENT_TYPES, event
from jobd.rpc.lookup import find
from jobd.rpc.params import EventsParams, UnsubscribeParams
from jobd.rpc.waiting import subscribed

_SLICE: Final = 500  # events held that are told in one turn of the loop


async def events(backend: Backend, call: Call, params: EventsParams) -> None:
    """Replies at once; then tells until the peer unsubscribes or goes."""
    with call.stream() as closed:
        id = None
        if params.id is not None:
            prefix = params.id
            id = await backend.ask(lambda engine, _: find(engine, prefix).id)
        wanted = _filter(params, id)

        def tell(fact: Fact) -> None:
            if wanted(fact):
                call.notify("event", {"subscription": call.id, **event(fact)})

        call.reply({"subscription": call.id, "seq": backend.hub.seq})
        if params.since is not None:
            await _catch_up(backend, call, params.since, tell)
        # Since the last look at what was held, nothing has been awaited: no event is missed.
        with subscribed(backend.hub, tell, None if id is None else [id]):
            await call.park(closed.wait())


async def unsubscribe(_backend: Backend, call: Call, params: UnsubscribeParams) -> dict[str, Any]:
    call.unsubscribe(params.subscription)
    return {}


async def _catch_up(backend: Backend, call: Call, since: int, tell: Callable[[Fact], None]) -> None:
    """Tells what was recorded after `since`, in slices, until there is no more of it."""
    while True:
        held = backend.hub.held(since)
        if held.gap:
            call.notify("event", {"subscription": call.id, "gap": True})
        if not held.facts:
            return
        for fact in held.facts[:_SLICE]:
            tell(fact)
        since = held.facts[:_SLICE][-1].seq
        await call.writable()
        await asyncio.sleep(0)


def _filter(params: EventsParams, id: str | None) -> Callable[[Fact], bool]:
    def wanted(fact: Fact) -> bool:
        return (
            type(fact.record) in EVENT_TYPES
            and (id is None or fact.job.id == id)
            and (params.status is None or fact.status in params.status)
            and (params.queue is None or fact.job.policy.queue == params.queue)
        )

    return wanted
