"""The daemon for programs that wait for its answers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from jobd.client import calls
from jobd.client.connection import Connection
from jobd.client.following import Following
from jobd.client.job import Job
from jobd.client.patience import Patience, done_before, fulfilled, timed
from jobd.client.protocol import ConnectionLost, Crowded, Note
from jobd.errors import DaemonUnavailable, Draining, JobdError, RequestError
from jobd.paths import find_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

    from jobd.client.calls import Target


def run_background_job(  # noqa: PLR0917 the contract's signature
    class_name: Target,
    method: str | None = None,
    params: Mapping[str, Any] | Sequence[Any] = (),
    retry_attempts: int | None = None,
    retry_delay: float | None = None,
    priority: int | None = None,
    delay: float = 0,
    **fields: Any,
) -> str:
    """Hands a callable to the daemon; the job's id, once it is on the daemon's disk.

    `class_name` is a class, a function, `package.module:Name` or `package.module.Name`.
    `fields` are the contract's.  DaemonUnavailable at once where no daemon answers: each call is
    a client of its own, and knows none that was there before.
    """
    with Client() as jobs:
        return jobs.submit(
            class_name, method, **calls.call_arguments(params), retry_attempts=retry_attempts,
            retry_delay=retry_delay, priority=priority, delay=delay or None, **fields,
        ).id  # fmt: skip


class Client:
    """A daemon's methods; those named as in the protocol return what the protocol says.

    May be shared by threads: each call under way has a connection of its own.  A daemon that
    does not answer the first connection is `DaemonUnavailable` at once; one that was there and
    went away is looked for again for 30 s, which a restart needs, and a job that was submitted
    meanwhile is there once.
    """

    def __init__(self, socket: str | None = None) -> None:
        """`socket`: a path; else $JOBD_SOCKET, the user's, the system's."""
        self.socket = find_socket(socket)
        self._idle: list[Connection] = []
        self._pid = os.getpid()
        self._met = False  # the daemon was there once

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """A later call connects anew."""
        while connection := self._taken():
            connection.close()

    # Jobs.

    def submit(
        self,
        target: Target | None = None,
        method: str | None = None,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        command: Sequence[str] | None = None,
        **fields: Any,
    ) -> Job:
        """The job, once it is on the daemon's disk.  Either `target` or `command`."""
        params = calls.submission(
            target, method, args=args, kwargs=kwargs, command=command, **fields
        )
        return Job(self, **self.call("submit", params))

    def submit_many(self, jobs: Sequence[Mapping[str, Any]]) -> Sequence[Job]:
        """All or none of them; each is a mapping of `submit`'s arguments."""
        params = {"jobs": [calls.submission(**job) for job in jobs]}
        return [Job(self, **told) for told in self.call("submit_many", params)["jobs"]]

    def job(self, id: str) -> Job:
        """A handle on a job that somebody submitted; asks nothing yet."""
        return Job(self, id)

    def status(self, id: str) -> dict[str, Any]:
        """The job document."""
        return self._ask("status", id=id)

    def list(self, **wanted: Any) -> Iterator[dict[str, Any]]:
        """Newest first, page after page: `status`, `queue`, `tag`, `target`; `limit` of a page."""
        cursor = None
        while True:
            page = self._ask("list", cursor=cursor, **wanted)
            yield from page["jobs"]
            cursor = page["cursor"]
            if cursor is None:
                return

    def cancel(self, id: str, *, force: bool = False) -> dict[str, Any]:
        """`{id, status}`, once the job has ended."""
        return self._ask("cancel", id=id, force=force or None)

    def retry(self, id: str, *, delay: float = 0) -> dict[str, Any]:
        """Repeated after a loss, it runs a job again that has ended anew by then."""
        return self._ask("retry", id=id, delay=delay or None)

    def remove(self, id: str) -> None:
        self.call("remove", {"id": id})

    def progress(self, id: str, fraction: float, message: str | None = None) -> None:
        """Of a running job: how much of it is done, from 0 to 1, and what is being done.

        A job in Python tells its own by `current_job.progress`.
        """
        self._ask("progress", id=id, fraction=fraction, message=message)

    def wait(
        self, ids: Sequence[str], timeout: float | None = None, *, any: bool = False
    ) -> dict[str, Any]:
        """`{jobs: [document, …], timed_out}`; a daemon that is silent too is a TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        return self._answer("wait", {"ids": calls.id_list(ids), "any": any}, deadline)

    # Output and events.

    def logs(self, id: str, **wanted: Any) -> dict[str, Any]:
        """One piece: `{attempt, data, offset, eof, skipped, lossy}`."""
        return self._ask("logs", id=id, **wanted)

    def follow(
        self, id: str, *, streams: Sequence[str] = ("stdout", "stderr"), **wanted: Any
    ) -> Iterator[dict[str, Any]]:
        """`{attempt, stream, data, offset, skipped}` as it is written, until the job is final."""
        following = Following(id, tuple(streams), calls.said(wanted))
        patience = Patience()
        while not following.over:
            try:
                with self._connected(fresh=True) as connection:
                    following.connected()
                    while not following.over:
                        if following.unsure:
                            for params in following.requests(self.status(id)):
                                following.asked(connection.send("logs", params), params)
                            continue
                        chunk = following.chunk(connection.receive())
                        patience = Patience()
                        if chunk is not None:
                            yield chunk
            except (DaemonUnavailable, Draining) as error:
                self._look_again(patience, error)

    def events(self, *, since: int | None = None, **wanted: Any) -> Iterator[dict[str, Any]]:
        """Each change of a job, for ever; `{gap: True}` where some are no longer held."""
        patience = Patience()
        while True:
            try:
                with self._connected(fresh=True) as connection:
                    begun = connection.call("events", calls.said({**wanted, "since": since}))
                    since = begun["seq"] if since is None else since
                    patience = Patience()
                    while True:
                        message = connection.receive()
                        if isinstance(message, Note):
                            since = message.params.get("seq", since)
                            yield message.params
            except (DaemonUnavailable, Draining) as error:
                self._look_again(patience, error)

    # The daemon.

    def stats(self) -> dict[str, Any]:
        return self._ask("stats")

    def ping(self) -> dict[str, Any]:
        return self._ask("ping")

    def reload(self) -> dict[str, Any]:
        return self._ask("reload")

    def drain(self, timeout: float | None = None, *, off: bool = False) -> dict[str, Any]:
        """`{running}`: how many still run, at 0 or after `timeout`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        return self._answer("drain", {"off": True} if off else {}, deadline)

    def shutdown(self, *, drain: bool = True) -> None:
        """Never repeated: the one that answers next may be the next daemon."""
        with self._connected(fresh=True) as connection:
            try:
                connection.call("shutdown", {"drain": drain})
            except (ConnectionLost, Draining):
                return  # it has gone, as asked, before its answer got here

    def call(
        self, method: str, params: Mapping[str, Any], deadline: float | None = None
    ) -> Any:  # fmt: skip
        """Any method's result; `deadline` is on the monotonic clock and becomes its `timeout`.

        Repeated after a loss: a submission under the `request_id` that it has or is given here;
        else only for what may be done twice, as all of the above may.
        """
        params = calls.once(method, params)
        patience = Patience(deadline)
        while True:
            try:
                with self._connected() as connection:
                    return connection.call(method, timed(dict(params), deadline), deadline)
            except (DaemonUnavailable, Draining) as error:
                self._look_again(patience, error)
            except RequestError as error:
                if not (patience.lost and done_before(method, error)):
                    raise
                return self._done_before(method, params, error)

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        return self._answer(method, calls.said(params))

    def _answer(
        self, method: str, params: dict[str, Any], deadline: float | None = None
    ) -> dict[str, Any]:
        result: dict[str, Any] = self.call(method, params, deadline)
        return result

    def _done_before(
        self, method: str, params: Mapping[str, Any], error: RequestError
    ) -> dict[str, Any]:
        if method == "remove":
            return {}
        document = self.status(params["id"])
        if not fulfilled(method, document["status"]):
            raise error
        return {"id": document["id"], "status": document["status"]}

    def _look_again(self, patience: Patience, error: JobdError) -> None:
        """Returns when it is time for another try; raises `error` when there is to be none."""
        if not self._met and not isinstance(error, Crowded):
            raise error
        time.sleep(patience.wait_after(error))

    @contextmanager
    def _connected(self, *, fresh: bool = False) -> Iterator[Connection]:
        """A connection of one's own.  Kept for the next call unless an answer may be due on it."""
        connection = None if fresh else self._idle_one()
        if connection is None:
            connection = Connection(self.socket)
            self._met = True
        reusable = False
        try:
            yield connection
            reusable = not fresh
        except RequestError:
            reusable = not fresh
            raise
        finally:
            if reusable:
                self._idle.append(connection)
            else:
                connection.close()

    def _idle_one(self) -> Connection | None:
        if self._pid != os.getpid():  # forked: the parent is still talking on those
            self.close()
            self._pid = os.getpid()
        while connection := self._taken():
            if connection.alive:
                return connection
            connection.close()
        return None

    def _taken(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:  # none, or another thread was quicker
            return None
