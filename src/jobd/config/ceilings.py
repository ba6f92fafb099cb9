"""How far a submitter may go: `[limits.max]`, and what holds where nobody said anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jobd.core.fields import FIELDS, LIMITS
from jobd.descriptors import hard_limit

# Fields of their own that have a ceiling too; the others are in `limits`.
BESIDE_LIMITS: Final = ("timeout", "kill_grace", "priority")


class Ceilings:
    """`given`: as checked, by name, those that there are.

    Of `nice` it is the lowest that is allowed, since lower is more.
    """

    __slots__ = ("_given",)

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def faults(self, fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Of valid fields those that go beyond: the field, and the most that is allowed.

        Null is beyond every ceiling, for it is none at all.
        """
        limits = fields.get("limits") or {}
        for name, most in self._given.items():
            dotted, of = (name, fields) if name in BESIDE_LIMITS else (f"limits.{name}", limits)
            if name in of and _beyond(name, of[name], most):
                yield dotted, f"must be {_shown(name, most)} ([limits.max] of the config)"

    def fill(self, policy: dict[str, Any], limits: dict[str, Any]) -> None:
        """What nobody set, or built in is beyond its ceiling, is then as much as is allowed."""
        for name, most in self._given.items():
            beside = name in BESIDE_LIMITS
            of, built_in = (policy, FIELDS[name].default) if beside else (limits, None)
            if _beyond(name, of.get(name, built_in), most):
                of[name] = min(most, hard_limit()) if name == "open_files" else most


def _beyond(name: str, value: Any, most: Any) -> bool:
    if name == "nice":
        return bool((value or 0) < most)
    return value is None or bool(value > most)


def _shown(name: str, most: Any) -> str:
    unit = (LIMITS.get(name) or FIELDS[name]).unit
    if name == "nice":
        return f"at least {most}"
    return f"at most {most:.20g} {unit}" if unit else f"at most {most}"
