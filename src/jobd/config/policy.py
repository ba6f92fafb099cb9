"""How a job is to be treated: submission, else queue, else `[defaults]`, else built in.

`limits` go by the same layers, each of them by itself, with `[limits.default]` for `[defaults]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from jobd.config.ceilings import Ceilings
from jobd.core.fields import FIELDS, POLICY
from jobd.core.job import Policy, policy_value

# A command is run again only if somebody says that it may be: jobd can't know whether it is
# harmless to do its work twice.
_BUILT_IN: Final[Mapping[bool, Mapping[str, Any]]] = {False: {}, True: {"retry_attempts": 0}}

# Jobs alike share one policy.  Beyond this many kinds nobody gains by remembering them all.
_KINDS_MAX: Final = 4096


class Policies:
    """`queues`: what the config says of each.  Values as checked, durations in seconds."""

    __slots__ = ("_ceilings", "_defaults", "_known", "_limits", "_queues", "_same")

    def __init__(
        self,
        defaults: Mapping[str, Any],
        queues: Mapping[str, Mapping[str, Any]],
        *,
        limits: Mapping[str, Any],
        ceilings: Ceilings,
    ) -> None:
        self._defaults = defaults
        self._limits = limits
        self._ceilings = ceilings
        self._queues = queues
        self._known: dict[tuple[Any, ...], Policy] = {}  # by what was asked for
        self._same: dict[Policy, Policy] = {}

    def of(self, fields: Mapping[str, Any], *, is_command: bool) -> Policy:
        """Of a submission whose fields are valid.  Equal policies are one object."""
        asked = tuple((name, _plain(fields[name])) for name in POLICY if name in fields)
        policy = self._known.get((is_command, asked))
        if policy is None:
            policy = self._resolve(dict(asked), is_command)
            if len(self._known) >= _KINDS_MAX:
                self._known.clear()
                self._same.clear()
            policy = self._same.setdefault(policy, policy)
            self._known[is_command, asked] = policy
        return policy

    def _resolve(self, asked: dict[str, Any], is_command: bool) -> Policy:
        below = {**_BUILT_IN[is_command], **self._defaults}
        name = asked.get("queue", below.get("queue", FIELDS["queue"].default))
        queue = self._queues.get(name, {})
        resolved = {**below, **queue, **asked}
        if not is_command:  # a callable has its ways to say how it ended
            resolved.pop("success_codes", None)
        limits = {**self._limits, **queue.get("limits", {}), **dict(asked.get("limits", ()))}
        self._ceilings.fill(resolved, limits)
        resolved["limits"] = limits
        return Policy(**{name: policy_value(name, value) for name, value in resolved.items()})


def _plain(value: Any) -> Any:
    """As what can be told from others by its hash."""
    match value:
        case list():
            return tuple(value)
        case dict():
            return tuple(sorted(value.items()))
        case _:
            return value
