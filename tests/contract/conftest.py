"""Black-box tests of the contract: see `outside/` for the daemon that they talk to."""

from collections.abc import Iterator

import pytest
from outside.fixtures import (  # noqa: F401  pytest finds fixtures by their names here
    _narrow,
    _shared,
    installation,
    jobd,
    narrow,
    peer,
    shared,
)
from outside.forks import Forks
from outside.installation import SRC, Installation


@pytest.fixture(scope="session", autouse=True)
def forks() -> Iterator[None]:
    """Here `jobd` is forked, which takes a tenth of the time; in daemon/ it is exec'd."""
    with pytest.MonkeyPatch.context() as patch:
        one = Forks({"PYTHONPATH": SRC, "LANG": "C.UTF-8"})
        patch.setattr(Installation, "forks", one)
        yield
    one.close()
