"""The daemon for programs that run on asyncio: as `sync`, with async and await."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from jobd.client import calls
from jobd.client.following import Following
from jobd.client.job import Handle, result_of, too_late
from jobd.client.links import Link, SharedLink
from jobd.client.patience import Patience, done_before, fulfilled, timed
from jobd.client.protocol import ConnectionLost, Crowded, Note
from jobd.errors import DaemonUnavailable, Draining, JobdError, RequestError
from jobd.paths import find_socket

if TYPE_CHECKING:
    from jobd.client.calls import Target


class AsyncClient:
    """As `Client`; all calls share one connection, each stream has its own.

    A `submit` that is cancelled half way may have made its job.
    """

    def __init__(self, socket: str | None = None) -> None:
        """`socket`: a path; else $JOBD_SOCKET, the user's, the system's."""
        self.socket = find_socket(socket)
        self._shared: SharedLink | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()  # of that loop
        self._met = False  # the daemon was there once

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        await self.aclose()

    async def aclose(self) -> None:
        """A later call connects anew."""
        shared, self._shared = self._shared, None
        if shared is not None:
            await shared.aclose()

    # Jobs.

    async def submit(
        self,
        target: Target | None = None,
        method: str | None = None,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        command: Sequence[str] | None = None,
        **fields: Any,
    ) -> AsyncJob:
        """The job, once it is on the daemon's disk.  Either `target` or `command`."""
        params = calls.submission(
            target, method, args=args, kwargs=kwargs, command=command, **fields
        )
        return AsyncJob(self, **await self.call("submit", params))

    async def submit_many(self, jobs: Sequence[Mapping[str, Any]]) -> Sequence[AsyncJob]:
        """All or none of them; each is a mapping of `submit`'s arguments."""
        answer = await self.call("submit_many", {"jobs": [calls.submission(**job) for job in jobs]})
        return [AsyncJob(self, **told) for told in answer["jobs"]]

    def job(self, id: str) -> AsyncJob:
        """A handle on a job that somebody submitted; asks nothing yet."""
        return AsyncJob(self, id)

    async def status(self, id: str) -> dict[str, Any]:
        """The job document."""
        return await self._ask("status", id=id)

    async def list(self, **wanted: Any) -> AsyncIterator[dict[str, Any]]:
        """Newest first, page after page: `status`, `queue`, `tag`, `target`; `limit` of a page."""
        cursor = None
        while True:
            page = await self._ask("list", cursor=cursor, **wanted)
            for document in page["jobs"]:
                yield document
            cursor = page["cursor"]
            if cursor is None:
                return

    async def cancel(self, id: str, *, force: bool = False) -> dict[str, Any]:
        """`{id, status}`, once the job has ended."""
        return await self._ask("cancel", id=id, force=force or None)

    async def retry(self, id: str, *, delay: float = 0) -> dict[str, Any]:
        """Repeated after a loss, it runs a job again that has ended anew by then."""
        return await self._ask("retry", id=id, delay=delay or None)

    async def remove(self, id: str) -> None:
        await self.call("remove", {"id": id})

    async def progress(self, id: str, fraction: float, message: str | None = None) -> None:
        """Of a running job: how much of it is done, from 0 to 1, and what is being done.

        A job in Python tells its own by `current_job.progress`.
        """
        await self._ask("progress", id=id, fraction=fraction, message=message)

    async def wait(
        self,
        ids: Sequence[str],
        timeout: float | None = None,  # noqa: ASYNC109 the daemon keeps it
        *,
        any: bool = False,
    ) -> dict[str, Any]:
        """`{jobs: [document, …], timed_out}`; a daemon that is silent too is a TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        return await self._answer("wait", {"ids": calls.id_list(ids), "any": any}, deadline)

    # Output and events.

    async def logs(self, id: str, **wanted: Any) -> dict[str, Any]:
        """One piece: `{attempt, data, offset, eof, skipped, lossy}`."""
        return await self._ask("logs", id=id, **wanted)

    async def follow(
        self, id: str, *, streams: Sequence[str] = ("stdout", "stderr"), **wanted: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """`{attempt, stream, data, offset, skipped}` as it is written, until the job is final."""
        following = Following(id, tuple(streams), calls.said(wanted))
        patience = Patience()
        while not following.over:
            try:
                async with self._own_link() as link:
                    following.connected()
                    while not following.over:
                        if following.unsure:
                            for params in following.requests(await self.status(id)):
                                following.asked(await link.send("logs", params), params)
                            continue
                        chunk = following.chunk(await link.receive())
                        patience = Patience()
                        if chunk is not None:
                            yield chunk
            except (DaemonUnavailable, Draining) as error:
                await self._look_again(patience, error)

    async def events(
        self, *, since: int | None = None, **wanted: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """Each change of a job, for ever; `{gap: True}` where some are no longer held."""
        patience = Patience()
        while True:
            try:
                async with self._own_link() as link:
                    begun = await link.call("events", calls.said({**wanted, "since": since}))
                    since = begun["seq"] if since is None else since
                    patience = Patience()
                    while True:
                        message = await link.receive()
                        if isinstance(message, Note):
                            since = message.params.get("seq", since)
                            yield message.params
            except (DaemonUnavailable, Draining) as error:
                await self._look_again(patience, error)

    # The daemon.

    async def stats(self) -> dict[str, Any]:
        return await self._ask("stats")

    async def ping(self) -> dict[str, Any]:
        return await self._ask("ping")

    async def reload(self) -> dict[str, Any]:
        return await self._ask("reload")

    async def drain(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 the daemon keeps it
        *,
        off: bool = False,
    ) -> dict[str, Any]:
        """`{running}`: how many still run, at 0 or after `timeout`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        return await self._answer("drain", {"off": True} if off else {}, deadline)

    async def shutdown(self, *, drain: bool = True) -> None:
        """Never repeated: the one that answers next may be the next daemon."""
        async with self._own_link() as link:
            try:
                await link.call("shutdown", {"drain": drain})
            except (ConnectionLost, Draining):
                return  # it has gone, as asked, before its answer got here

    async def call(
        self, method: str, params: Mapping[str, Any], deadline: float | None = None
    ) -> Any:
        """Any method's result; `deadline` is on the monotonic clock and becomes its `timeout`.

        Repeated after a loss: a submission under the `request_id` that it has or is given here;
        else only for what may be done twice, as all of the above may.
        """
        params = calls.once(method, params)
        patience = Patience(deadline)
        while True:
            try:
                link = await self._link()
                return await link.call(method, timed(dict(params), deadline), deadline)
            except (DaemonUnavailable, Draining) as error:
                await self._look_again(patience, error)
            except RequestError as error:
                if not (patience.lost and done_before(method, error)):
                    raise
                return await self._done_before(method, params, error)

    async def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        return await self._answer(method, calls.said(params))

    async def _answer(
        self, method: str, params: dict[str, Any], deadline: float | None = None
    ) -> dict[str, Any]:
        result: dict[str, Any] = await self.call(method, params, deadline)
        return result

    async def _done_before(
        self, method: str, params: Mapping[str, Any], error: RequestError
    ) -> dict[str, Any]:
        if method == "remove":
            return {}
        document = await self.status(params["id"])
        if not fulfilled(method, document["status"]):
            raise error
        return {"id": document["id"], "status": document["status"]}

    async def _look_again(self, patience: Patience, error: JobdError) -> None:
        """Returns when it is time for another try; raises `error` when there is to be none."""
        if not self._met and not isinstance(error, Crowded):
            raise error
        await asyncio.sleep(patience.wait_after(error))

    async def _link(self) -> SharedLink:
        if self._loop is not asyncio.get_running_loop():
            self._loop, self._opening = asyncio.get_running_loop(), asyncio.Lock()
        async with self._opening:
            if self._shared is None or not self._shared.usable:
                if self._shared is not None:
                    await self._shared.aclose()
                self._shared = SharedLink(await Link.open(self.socket))
                self._met = True
            return self._shared

    @asynccontextmanager
    async def _own_link(self) -> AsyncIterator[Link]:
        link = await Link.open(self.socket)
        self._met = True
        try:
            yield link
        finally:
            link.close()


class AsyncJob(Handle):
    """As `Job`."""

    __slots__ = ()
    _client: AsyncClient

    async def wait(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 the daemon keeps it
    ) -> AsyncJob:
        """Itself, when the job has ended, however it did.  TimeoutError after `timeout` s."""
        answer = await self._client.wait([self.id], timeout)
        self.document = answer["jobs"][0]
        if answer["timed_out"]:
            raise TimeoutError(too_late(self.document, timeout))
        return self

    @property
    def result(self) -> Any:
        """What the callable returned, by what `wait` or `status` brought last; else JobFailed."""
        return result_of(self.document)

    async def status(self) -> dict[str, Any]:
        """The job document, as it is now."""
        self.document = await self._client.status(self.id)
        return self.document

    async def cancel(self, *, force: bool = False) -> dict[str, Any]:
        return await self._client.cancel(self.id, force=force)

    async def retry(self, *, delay: float = 0) -> dict[str, Any]:
        """Ended jobs only; what `wait` had brought is forgotten."""
        answer = await self._client.retry(self.id, delay=delay)
        self.document = dict(answer)
        return answer

    async def remove(self) -> None:
        await self._client.remove(self.id)

    async def logs(self, **wanted: Any) -> dict[str, Any]:
        return await self._client.logs(self.id, **wanted)

    def follow(self, **wanted: Any) -> AsyncIterator[dict[str, Any]]:
        return self._client.follow(self.id, **wanted)
