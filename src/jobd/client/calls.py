"""What a submission says, from what a Python program has at hand.  Pure.

None is never sent: it leaves the choice to the daemon's config.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from jobd.errors import InvalidParams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Target = str | type | Callable[..., Any]


def submission(
    target: Target | None = None,
    method: str | None = None,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    command: Sequence[str] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Params of `submit`."""
    params = said({
        "target": None if target is None else target_name(target),
        "method": method,
        "args": None if args is None else list(_sequence("args", args)),
        "kwargs": None if kwargs is None else _keywords(kwargs),
        "command": None if command is None else list(_sequence("command", command)),
        **fields,
    })  # fmt: skip
    if "run_at" in params:
        params["run_at"] = _instant(params["run_at"])
    return params


def once(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same call such that it may be sent twice: each submission has a `request_id`."""
    if method == "submit":
        return _identified(params)
    if method == "submit_many" and isinstance(params.get("jobs"), Sequence):
        jobs = [_identified(job) if isinstance(job, Mapping) else job for job in params["jobs"]]
        return {**params, "jobs": jobs}
    return params


def said(params: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was left open."""
    return {name: value for name, value in params.items() if value is not None}


def id_list(ids: Sequence[str]) -> list[str]:
    """One id alone is meant as what it is, not as its letters."""
    return [ids] if isinstance(ids, str) else list(ids)


def call_arguments(params: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    """`params` of `run_background_job`: a mapping by keyword, a sequence by position."""
    if isinstance(params, Mapping):
        return {"kwargs": params} if params else {}
    positional = _sequence("params", params)
    return {"args": positional} if positional else {}


def target_name(target: Target) -> str:
    """`module:Name`, by which the child will find it again; text is left as it is."""
    if isinstance(target, str):
        return target
    module = getattr(target, "__module__", None)
    name = getattr(target, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError(f"a target is a class, a function or 'module:Name', not {target!r}")
    if module == "__main__":
        raise _no_target(
            f"{name} is defined in the program that is running (__main__), where a job's process"
            " can't import it; move it to a module"
        )
    if not name.isidentifier():
        raise _no_target(
            f"{module}:{name} is nested, or a lambda; a target is a name at the top of its module"
            " (a method goes in `method`)"
        )
    return f"{module}:{name}"


def new_request_id() -> str:
    """96 random bits: never the same twice, so a repetition can't be mistaken for it."""
    return os.urandom(12).hex()


def _identified(fields: Mapping[str, Any]) -> dict[str, Any]:
    given = fields.get("request_id")
    return {**fields, "request_id": new_request_id() if given is None else given}


def _sequence(name: str, value: Any) -> Sequence[Any]:
    # A string is a sequence of characters, which nobody who passes one means.
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a list or a tuple, not {type(value).__name__}")
    return value


def _keywords(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"kwargs must be a mapping, not {type(value).__name__}")
    for name in value:
        # json would turn 1 into "1" without a word.
        if not isinstance(name, str):
            raise TypeError(f"keyword arguments are named by strings, not {name!r}")
    return dict(value)


def _instant(value: Any) -> Any:
    """A datetime as RFC 3339; one without a zone could mean any of them."""
    if not hasattr(value, "utcoffset"):
        return value
    if value.utcoffset() is None:
        raise InvalidParams.of([("run_at", "needs a time zone")])
    return value.isoformat()


def _no_target(why: str) -> InvalidParams:
    return InvalidParams.of([("target", why)])
