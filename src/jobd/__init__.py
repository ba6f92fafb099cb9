"""jobd: the background-job daemon for one machine.

Its public names, each loaded when it is first asked for: a job that wants `current_job` pays
for no client, and `jobctl` for neither.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.client import AsyncClient, Client, run_background_job
    from jobd.current import Cancelled, Fail, Retry, current_job

__version__ = "0.1.0"
__all__ = [
    "AsyncClient", "Cancelled", "Client", "Fail", "Retry", "__version__", "current_job",
    "run_background_job",
]  # fmt: skip

_HOMES = {
    "AsyncClient": "jobd.client",
    "Client": "jobd.client",
    "run_background_job": "jobd.client",
    "Cancelled": "jobd.current",
    "Fail": "jobd.current",
    "Retry": "jobd.current",
    "current_job": "jobd.current",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
