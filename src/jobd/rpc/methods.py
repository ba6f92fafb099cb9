"""The table of methods, and those that are short.

A method translates, and does nothing else: parameters to a command or a question, what comes
of it to a result.  What a command means is the engine's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from jobd.core.commands import Progress, Remove, Retry, Submit
from jobd.core.engine import Engine
from jobd.errors import CannotStart, ConfigError, InvalidParams, MethodNotFound
from jobd.instants import rfc3339
from jobd.rpc import params as p
from jobd.rpc.backend import Backend
from jobd.rpc.call import Call
from jobd.rpc.documents import document
from jobd.rpc.faults import LATER, Faults, Params, refusal, validated
from jobd.rpc.jsonrpc import Request
from jobd.rpc.listing import list_jobs
from jobd.rpc.logs import logs
from jobd.rpc.lookup import find, whole
from jobd.rpc.streams import events, unsubscribe
from jobd.rpc.submission import bad_fields, submission
from jobd.rpc.waiting import cancel, drain, wait

PROTOCOL: Final = 1

_SLICE: Final = 100  # submissions checked in one turn of the loop


async def submit(backend: Backend, call: Call, given: Any) -> dict[str, Any]:
    """Durable when it returns."""
    if bad := bad_fields(backend, given):
        raise refusal(bad)
    [submittal] = await backend.execute(Submit((submission(backend, call.peer, given),)))
    answer: dict[str, Any] = submittal._asdict()
    return answer


async def submit_many(backend: Backend, call: Call, params: p.ManyJobs) -> dict[str, Any]:
    """All or nothing, and durable when it returns."""
    bad: Faults = []
    async for where, fields in _in_slices(params.jobs):
        bad += bad_fields(backend, fields, where=where)
    if bad:
        raise refusal(bad)
    submissions = [
        submission(backend, call.peer, fields, where=where)
        async for where, fields in _in_slices(params.jobs)
    ]
    submittals = await backend.execute(Submit(tuple(submissions))) if submissions else ()
    return {"jobs": [submittal._asdict() for submittal in submittals]}


async def _in_slices(jobs: Sequence[Any]) -> AsyncIterator[tuple[str, Any]]:
    """(where it stands, the fields) of each; others get their turn in between."""
    for place, fields in enumerate(jobs):
        if place % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
        yield f"jobs.{place}.", fields


async def status(backend: Backend, _call: Call, params: p.OneJob) -> dict[str, Any]:
    def question(engine: Engine, _: object) -> dict[str, Any]:
        job = find(engine, params.id)
        return document(engine, job, backend.pid_of(job.id))

    return await backend.ask(question)


async def retry(backend: Backend, _call: Call, params: p.RetryParams) -> dict[str, Any]:
    id = await whole(backend, params.id)
    return {"id": id, "status": await backend.execute(Retry(id, delay_s=params.delay))}


async def remove(backend: Backend, _call: Call, params: p.OneJob) -> dict[str, Any]:
    await backend.execute(Remove(await whole(backend, params.id)))
    return {}


async def progress(backend: Backend, _call: Call, params: p.ProgressParams) -> dict[str, Any]:
    """Shown when it returns, and on disk when the attempt has ended."""
    id = await whole(backend, params.id)
    await backend.execute(Progress(id, params.fraction, params.message))
    return {}


async def stats(backend: Backend, _call: Call, _params: p.Nothing) -> dict[str, Any]:
    def question(engine: Engine, _: object) -> dict[str, Any]:
        queues = {name: counts._asdict() for name, counts in engine.schedule.counts()}
        return {
            "jobs": dict(engine.counts),
            "queues": {name: {**counts, "paused": False} for name, counts in queues.items()},
            "running": len(engine.running),
            "max_running": engine.rules.max_running,
            "held": _held(engine),
        }

    return {**await backend.ask(question), **backend.stats()}


def _held(engine: Engine) -> dict[str, Any] | None:
    """Why nothing is started, where the host lacks what every start needs."""
    held = engine.starts.held
    return None if held is None else {"why": held.why, "since": rfc3339(held.since)}


async def ping(backend: Backend, _call: Call, _params: p.Nothing) -> dict[str, Any]:
    identity = backend.identity
    return {
        "name": "jobd",
        "version": identity.version,
        "protocol": PROTOCOL,
        "pid": identity.pid,
        "started_at": rfc3339(identity.started_at),
        "config": identity.config,
    }


async def reload(backend: Backend, _call: Call, _params: p.Nothing) -> dict[str, Any]:
    try:
        reloaded = await backend.reload()
    except ConfigError as exc:
        raise InvalidParams.of([(key or "config", fault) for key, fault in exc.faults]) from None
    return {"changed": list(reloaded.changed), "restart": list(reloaded.restart)}


async def upgrade(backend: Backend, call: Call, _params: p.Nothing) -> dict[str, Any]:
    try:
        await call.park(backend.upgrade())
    except CannotStart as exc:
        raise InvalidParams.of([("program", str(exc))]) from None
    return {}


async def shutdown(backend: Backend, _call: Call, params: p.ShutdownParams) -> dict[str, Any]:
    backend.shutdown(drain=params.drain)
    return {}


class Method(NamedTuple):
    run: Callable[[Backend, Call, Any], Awaitable[Any]]
    params: type[Params] | None  # None: the fields of a job
    result: str  # this and what follows are for the reference
    says: str


_ID_STATUS: Final = "`{id, status}`"

METHODS: Final[Mapping[str, Method]] = {
    "submit": Method(submit, None, "`{id, status, duplicate}`", "stores a job; durable"),
    "submit_many": Method(
        submit_many, p.ManyJobs, "`{jobs: [{id, status, duplicate}, …]}`",
        "stores all of them, or none; durable",
    ),
    "status": Method(status, p.OneJob, "the job document", "shows a job"),
    "list": Method(
        list_jobs, p.ListParams, "`{jobs: [document in brief, …], cursor}`",
        "shows jobs, newest first, a page at a time; only `cursor: null` is the end",
    ),
    "cancel": Method(
        cancel, p.CancelParams, _ID_STATUS, "ends a job; answers when it has ended"
    ),
    "retry": Method(retry, p.RetryParams, _ID_STATUS, "runs a final job again, all retries new"),
    "remove": Method(remove, p.OneJob, "`{}`", "forgets a final job and its output"),
    "wait": Method(
        wait, p.WaitParams, "`{jobs: [document, …], timed_out}`",
        "answers when all (or any) were found final",
    ),
    "logs": Method(
        logs, p.LogsParams, "`{attempt, data, offset, eof, skipped, lossy}`",
        "shows output; with `follow`, notifications `log` come first",
    ),
    "events": Method(
        events, p.EventsParams, "`{subscription, seq}`", "then sends notifications `event`"
    ),
    "unsubscribe": Method(unsubscribe, p.UnsubscribeParams, "`{}`", "ends a stream"),
    "progress": Method(
        progress, p.ProgressParams, "`{}`",
        "says how far a running job has come; a sign of life for `idle_timeout`",
    ),
    "stats": Method(
        stats, p.Nothing,
        "`{jobs, queues, running, max_running, held, uptime_s, journal, throughput, …}`",
        "counts, limits and speeds",
    ),
    "ping": Method(
        ping, p.Nothing, "`{name, version, protocol, pid, started_at, config}`", "who is there"
    ),
    "reload": Method(
        reload, p.Nothing, "`{changed, restart}`",
        "reads the config again: keys that took effect, keys that need a restart",
    ),
    "drain": Method(
        drain, p.DrainParams, "`{running}`",
        "starts no more jobs; answers when none runs. Submissions are still stored",
    ),
    "upgrade": Method(
        upgrade, p.Nothing, "`{}`",
        "has the program that is installed by now take over, under running jobs; refused if it"
        " can't start",
    ),
    "shutdown": Method(shutdown, p.ShutdownParams, "`{}`", "stops the daemon, as SIGTERM does"),
}  # fmt: skip

COMING: Final = ("update", "explain", "pause", "resume", "schedules")


class Dispatch:
    """What the server asks for each request."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def patient(self, request: Request) -> bool:
        if request.method == "logs":
            return isinstance(request.params, dict) and request.params.get("follow") is True
        return request.method in {"wait", "events"}

    async def answer(self, call: Call, request: Request) -> object:
        method = METHODS.get(request.method)
        if method is None:
            if request.method in COMING:
                raise MethodNotFound(f"Method not found: {request.method} {LATER}")
            raise MethodNotFound("Method not found")
        if method.params is None:
            return await method.run(self._backend, call, request.params or {})
        return await method.run(self._backend, call, validated(method.params, request.params))
