"""What the conftests of contract/ and daemon/ give their tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from outside.installation import Installation
from outside.jobs import JOBS
from outside.peer import Peer

ALLOWED = {"jobs:*": ["*"]}


@pytest.fixture
def installation() -> Iterator[Callable[..., Installation]]:
    """Makes installations of the test's own: config over the usual one; not started."""
    made: list[Installation] = []

    def make(config: dict[str, Any] | None = None) -> Installation:
        made.append(Installation(config))
        made[-1].module(JOBS)
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def jobd(installation: Callable[..., Installation]) -> Callable[..., Installation]:
    """The same, started."""
    return lambda config=None, *options: installation(config).start(*options)


@pytest.fixture(scope="session")
def _shared() -> Iterator[Installation]:
    one = Installation()
    one.module(JOBS)
    yield one.start()
    one.close()


@pytest.fixture(scope="session")
def _narrow() -> Iterator[Installation]:
    one = Installation({"daemon": {"max_running": 1}, "queues": {"one": {"max_running": 1}}})
    one.module(JOBS)
    yield one.start()
    one.close()


@pytest.fixture
def shared(_shared: Installation) -> Installation:
    """A daemon with room for 16 jobs, which the test must not disturb for others."""
    return _shared


@pytest.fixture
def narrow(_narrow: Installation) -> Iterator[Installation]:
    """A daemon that runs one job at a time; idle before and after."""
    yield _narrow
    for job in _narrow.call("list", status=["pending", "running", "pending_retry"])["jobs"]:
        _narrow.call("cancel", id=job["id"], force=True)


@pytest.fixture
def peer(shared: Installation) -> Iterator[Peer]:
    """A connection of the test's own to the shared daemon."""
    with shared.peer() as connection:
        yield connection
