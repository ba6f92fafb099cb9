"""Ends after which a job is not run again, as `no_retry_on` names them.

An exit code is a number; a signal is named as the system does, `SIGSEGV`; an exception is a
built-in one, `ValueError`, or `app.errors:Permanent`: the module and the name that its class says
it has (`__module__`, `__qualname__`), not a place that it was imported from.
"""

from __future__ import annotations

import builtins
from collections.abc import Collection, Sequence

from jobd.core.fields import SIGNALS


def fault(end: int | str) -> str | None:
    """What is wrong with one in which the table of fields finds no fault, or None.

    Not asked of what the journal has: another Python may know other names.
    """
    if isinstance(end, int) or ":" in end or "." in end:
        return None
    if end.startswith("SIG") and end.isupper():
        return None if end in SIGNALS else f"there is no signal {end}"
    known = getattr(builtins, end, None)
    if isinstance(known, type) and issubclass(known, BaseException):
        return None
    return f"{end} is neither a signal nor a built-in exception; name it as package.module:Name"


def stored(end: int | str) -> int | str:
    """One without a fault, in the form in which it is kept: with a colon before the class."""
    if isinstance(end, int):
        return end
    module, _, name = end.rpartition(":" if ":" in end else ".")
    if module in ("", "builtins"):
        known = getattr(builtins, name, None)  # IOError is another name of OSError's
        return known.__name__ if isinstance(known, type) else name
    return f"{module}:{name}"


def named(ends: Collection[int | str], mro: Sequence[str]) -> bool:
    """Whether one of `ends` is the exception, or a class that it is a kind of."""
    said = set(mro)
    return any(
        isinstance(end, str) and end.replace(":", ".").removeprefix("builtins.") in said
        for end in ends
    )
