"""A handle on one job."""

from __future__ import annotations

from jobd.errors import JobFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jobd.client.sync import Client

FINAL = frozenset(("completed", "failed", "cancelled"))


class Handle:
    """Holds an id, and once `wait` has returned the final document too."""

    __slots__ = ("_client", "document", "duplicate", "id")

    def __init__(
        self, client: Any, id: str, status: str | None = None, duplicate: bool = False
    ) -> None:
        self._client = client
        self.id = id
        self.duplicate = duplicate  # found as stored: by another call, or by this one's lost try
        self.document: dict[str, Any] = {"id": id, "status": status}  # as last seen

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.document['status'] or ''}>"

    @property
    def ended(self) -> bool:
        """By what `wait` or `status` brought last."""
        return has_ended(self.document)


class Job(Handle):
    """Of a `Client`, whose methods it calls with its id."""

    __slots__ = ()
    _client: Client

    def wait(self, timeout: float | None = None) -> Job:
        """Itself, when the job has ended, however it did.  TimeoutError after `timeout` s."""
        answer = self._client.wait([self.id], timeout)
        self.document = answer["jobs"][0]
        if answer["timed_out"]:
            raise TimeoutError(too_late(self.document, timeout))
        return self

    @property
    def result(self) -> Any:
        """What the callable returned.  JobFailed of a job that is not completed (now)."""
        if not self.ended:
            self.status()
        return result_of(self.document)

    def status(self) -> dict[str, Any]:
        """The job document, as it is now."""
        self.document = self._client.status(self.id)
        return self.document

    def cancel(self, *, force: bool = False) -> dict[str, Any]:
        return self._client.cancel(self.id, force=force)

    def retry(self, *, delay: float = 0) -> dict[str, Any]:
        """Ended jobs only; what `wait` had brought is forgotten."""
        answer = self._client.retry(self.id, delay=delay)
        self.document = dict(answer)
        return answer

    def remove(self) -> None:
        self._client.remove(self.id)

    def logs(self, **wanted: Any) -> dict[str, Any]:
        return self._client.logs(self.id, **wanted)

    def follow(self, **wanted: Any) -> Iterator[dict[str, Any]]:
        return self._client.follow(self.id, **wanted)


def has_ended(document: dict[str, Any]) -> bool:
    """Whether it is a whole document of a final job: an answer to `submit` has no result."""
    return document["status"] in FINAL and "result" in document


def result_of(document: dict[str, Any]) -> Any:
    """The result of a completed job, else JobFailed with its failure."""
    if has_ended(document) and document["status"] == "completed":
        return document["result"]
    failure = document.get("failure")
    why = f": {failure['message']}" if failure else ""
    raise JobFailed(f"job {document['id']} is {document['status']}{why}", failure=failure)


def too_late(document: dict[str, Any], timeout: float | None) -> str:
    return f"job {document['id']} is still {document['status']} after {timeout:g} s"
