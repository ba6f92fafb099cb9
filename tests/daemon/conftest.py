"""Black-box tests of what must survive: see `outside/` for the daemon that they talk to."""

from outside.fixtures import (  # noqa: F401  pytest finds fixtures by their names here
    _narrow,
    _shared,
    installation,
    jobd,
    narrow,
    peer,
    shared,
)
