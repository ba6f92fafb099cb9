"""Hands jobs to the daemon and asks about them, from any Python program.

Standard library only; asyncio is imported with `AsyncClient` and not before.
"""

from __future__ import annotations

from jobd.client.job import Job
from jobd.client.sync import Client, run_background_job
from jobd.errors import (
    Conflict,
    DaemonUnavailable,
    Draining,
    InvalidParams,
    JobdError,
    JobFailed,
    NotFound,
    QueueFull,
    RequestError,
    StorageError,
    Unauthorized,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.client.aio import AsyncClient, AsyncJob

__all__ = [
    "AsyncClient", "AsyncJob", "Client", "Conflict", "DaemonUnavailable", "Draining",
    "InvalidParams", "Job", "JobFailed", "JobdError", "NotFound", "QueueFull", "RequestError",
    "StorageError", "Unauthorized", "run_background_job",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name in ("AsyncClient", "AsyncJob"):
        from jobd.client import aio

        return getattr(aio, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
