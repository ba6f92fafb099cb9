from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobd.config.tables import LoggingTable
from jobd.core.decision import Fact
from jobd.core.job import Job, Policy
from jobd.core.records import Record
from jobd.instants import parse_rfc3339
from jobd.logs.joblog import JobLog

CALL = {
    "target": "app.jobs:SendWelcomeEmail", "method": "handle", "kwargs": {"user_id": 123},
}  # fmt: skip


@pytest.fixture
def noon() -> float:
    return parse_rfc3339("2024-11-12T15:45:00.123456Z")


@pytest.fixture
def fact(noon: float) -> Callable[..., Fact]:
    """A kept record of a job."""

    def make(record: Record, *, call: Any = CALL, attempt: int = 1, job: Job | None = None) -> Fact:
        job = job or Job(
            id=record.id, number=1, by="uid:1000", call=json.dumps(call).encode(),
            policy=Policy(), submitted_at=noon, run_at=noon,
        )  # fmt: skip
        job.attempt = attempt
        return Fact(1, record, job, None, attempt)

    return make


class Told(list):
    """What the logs had to say about themselves."""


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def joblog(tmp_path: Path, told: Told) -> Callable[..., JobLog]:
    def make(**settings: Any) -> JobLog:
        return JobLog(tmp_path, LoggingTable(**settings), told.append)

    return make


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., list[str]]:
    """What a log has in it."""

    def read(name: str = "background_jobs.log") -> list[str]:
        return (tmp_path / name).read_text().splitlines()

    return read
