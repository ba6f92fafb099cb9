"""Finds the callable, asks what only the imported object can tell, and calls it."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Unauthorized(BaseException):
    """The allow-list does not admit what the name turned out to be.

    No Exception: it is raised beside the job's code, and nobody there may swallow it.
    """


def call(call: dict[str, Any]) -> Any:
    """What the callable returned, awaited if need be.  Whatever it raises is raised here."""
    function = _find(call)
    value = function(*call["args"], **call["kwargs"])
    if hasattr(value, "__await__"):
        import asyncio

        value = asyncio.run(_awaited(value))
    return value


async def _awaited(value: Any) -> Any:
    return await value


def _find(call: dict[str, Any]) -> Any:
    module, _, name = call["target"].partition(":")
    __import__(module)  # unlike importlib's, it leaves its own frames out of tracebacks
    found = getattr(sys.modules[module], name)
    patterns = call["patterns"]
    if call["function_only"] and isinstance(found, type):
        raise Unauthorized(
            f'{call["target"]} is a class: the allow-list must name its methods, or "*"'
        )
    if patterns is not None:
        _check(call["target"], found, patterns)
    if call["method"] is None:
        return found
    return _method(call["target"], found, call["method"], patterns)


def _method(target: str, found: Any, name: str, patterns: Sequence[str] | None) -> Any:
    if not isinstance(found, type):
        raise TypeError(f"{target} is no class, so it has no method {name}")
    raw = next((c.__dict__[name] for c in found.__mro__ if name in c.__dict__), None)
    static = isinstance(raw, (staticmethod, classmethod))
    if patterns is not None and raw is not None:
        # `run = os.system` in a class body is as foreign as an imported name.
        _check(f"{target}@{name}", raw.__func__ if static else raw, patterns)
    return getattr(found if static else found(), name)


def _check(what: str, found: Any, patterns: Sequence[str]) -> None:
    """Of what only a wildcard admitted: the list must also admit where it really comes from.

    `from os import system` in a listed module makes no job of it.
    """
    module, name = origin(found)
    if not comes_from(module, name, patterns):
        raise Unauthorized(f"{what} comes from {module}, which the allow-list does not admit")


def origin(found: Any) -> tuple[str, str]:
    module = getattr(found, "__module__", None)
    name = getattr(found, "__qualname__", None) or getattr(found, "__name__", "")
    return (module if isinstance(module, str) else type(found).__name__), str(name)


def comes_from(module: str, name: str, patterns: Sequence[str]) -> bool:
    """A wildcard speaks for modules; an exact entry for that one name.

    As for names, no wildcard reaches into modules whose part below it begins with `_`.
    """
    for pattern in patterns:
        if pattern.endswith(":*"):
            if module == pattern[:-2]:
                return True
        elif pattern.endswith(".*"):
            package = pattern[:-1]
            if module.startswith(package) and not any(
                part.startswith("_") for part in module[len(package) :].split(".")
            ):
                return True
        elif pattern == f"{module}:{name}":
            return True
    return False
