"""jobd: the background-job daemon for one machine.

Its public names, each loaded when it is first asked for: a job that wants `current_job` pays
for no client, and `jobctl` for neither.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.client import AsyncClient, Client, run_background_job
    from jobd.current import current_job

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__", "current_job", "run_background_job"]

_HOMES = {
    "AsyncClient": "jobd.client",
    "Client": "jobd.client",
    "run_background_job": "jobd.client",
    "current_job": "jobd.current",
}
_LATER = ("Fail", "Retry")


def __getattr__(name: str) -> object:
    if name in _LATER:
        # An ImportError, since an AttributeError loses its message in `from jobd import Retry`.
        raise ImportError(f"jobd.{name} comes in a later release", name=__name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
