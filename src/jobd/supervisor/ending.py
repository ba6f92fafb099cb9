"""Reads how an attempt ended, from the keeper's outcome and the child's result.

Both may come from a disk that has been through a crash, and the result from a process that
ran a stranger's code: what can't be believed is not taken.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from jobd.child.ending import MESSAGE_MAX, TRACEBACK_MAX, excerpt
from jobd.child.run import DEPTH_MAX, RESULT_MAX
from jobd.core.job import Ending, Kind
from jobd.keeper import protocol
from jobd.keeper.results import read_plain, read_result

# Of outcomes: what a keeper of the release before wrote is as true, and says less.
_VERSIONS: Final = (1, protocol.VERSION)
_FACTS: Final = ("pid", "exit_code", "signal", "cpu_time", "max_rss")
_BOUNDS: Final = {"pid": 1 << 22, "exit_code": 1 << 32, "max_rss": 1 << 62}
STRAYS_MAX: Final = 1024
MRO_BYTES: Final = 16 * 1024  # of names; what is more is not looked at
# Of an attempt that the keeper ended for one of its limits: the kind, and what the policy, which
# alone knows the limit, makes a better message of.
_BEYOND: Final[Mapping[str, tuple[Kind, str]]] = {
    "memory": ("memory", "used more memory than its limit"),
    "cpu_time": ("cpu_time", "used more CPU time than its limit"),
    "processes": ("signal", "had more processes than its limit"),
}
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKET: Final = re.compile(r"[\[\]{}]")


def read_outcome(directory: str, id: str, attempt: int) -> Ending | None:
    """What the attempt's directory says; None: no whole outcome of that attempt is there."""
    text = read_plain(f"{directory}/{protocol.OUTCOME}", protocol.OUTCOME_BYTES)
    try:
        outcome = json.loads(text or "")
    except (ValueError, RecursionError):
        return None  # after a power cut, a file may have its name and not yet its content
    named = isinstance(outcome, dict) and (outcome.get("id"), outcome.get("attempt"))
    if named != (id, attempt) or outcome.get("version") not in _VERSIONS:
        return None
    if not _is_ours(outcome):
        return None  # a job has written it: it could stop the daemon at each start
    return ending_of(outcome, read_result(directory))


def _is_ours(outcome: Mapping[str, Any]) -> bool:
    """Whether every fact is there, or may be missing, and of its kind."""
    return (
        isinstance(outcome.get("callable"), bool)
        and "exit_code" in outcome
        and isinstance(outcome.get("spawn", ""), str)
        and outcome.get("limit") in (None, *_BEYOND)
        and _are_pids(outcome.get("strays", []))
        and _is_time(outcome.get("ended_at"))
        and (outcome.get("cpu_time") is None or _is_time(outcome["cpu_time"]))
        and (outcome.get("signal") is None or _is_name(outcome["signal"]))
        and all(
            outcome.get(name) is None or (type(outcome[name]) is int and 0 <= outcome[name] <= most)
            for name, most in _BOUNDS.items()
        )
    )


def _are_pids(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= STRAYS_MAX
        and all(type(pid) is int and 0 < pid <= _BOUNDS["pid"] for pid in value)
    )


def _is_time(value: Any) -> bool:
    return type(value) is float and math.isfinite(value) and value >= 0


def _is_name(value: Any) -> bool:
    return type(value) is str and re.fullmatch(r"SIG[A-Z0-9+]{1,12}", value) is not None


def ending_of(outcome: Mapping[str, Any], result: str | None) -> Ending:
    """`result` is the text that a callable's process left, if any."""
    facts: dict[str, Any] = {name: outcome.get(name) for name in ("ended_at", *_FACTS)}
    facts["strays"] = tuple(outcome.get("strays") or ())
    if "spawn" in outcome:
        return Ending(kind="spawn", message=_excerpt(outcome["spawn"], MESSAGE_MAX), **facts)
    if (limit := outcome.get("limit")) is not None:
        kind, message = _BEYOND[limit]
        return Ending(kind=kind, message=message, crowded=limit == "processes", **facts)
    if outcome["callable"]:
        return _of_callable(facts, result)
    facts["of_command"] = True
    if outcome["exit_code"] == 0:
        return Ending(kind="completed", **facts)
    return _of_process(facts, "")


def _of_process(facts: dict[str, Any], message: str) -> Ending:
    if facts["signal"] is not None:
        return Ending(kind="signal", message=message or f"killed by {facts['signal']}", **facts)
    return Ending(kind="exit", message=message or f"exited with code {facts['exit_code']}", **facts)


def _of_callable(facts: dict[str, Any], result: str | None) -> Ending:
    """A value counts only if the process then ended well: threads and `atexit` are part of it."""
    try:
        said = _strictly(result or "{}")
    except ValueError as exc:
        message = _excerpt(f"the process left a result that is no JSON: {exc}", MESSAGE_MAX)
        return Ending(kind="exception", message=message, **facts)
    match said:
        case {
            "exception": {"type": str(name), "message": str(text), "traceback": str(frames)} as told
        }:
            message = _excerpt(f"{name}: {text}" if text else name, MESSAGE_MAX)
            traceback = _excerpt(frames, TRACEBACK_MAX)
            facts |= {"mro": _mro(told.get("mro")), **_wish(told.get("wish"))}
            return Ending(kind="exception", message=message, traceback=traceback, **facts)
        case {"unauthorized": str(why)}:
            return Ending(kind="unauthorized", message=_excerpt(why, MESSAGE_MAX), **facts)
        case {"ok": value} if facts["exit_code"] == 0:
            return _completed(facts, value)
        case {"ok": _}:
            return _of_process(facts, f"{_of_process(facts, '').message} after it had returned")
        case {"exit": str(text)} if facts["signal"] is None:
            return _of_process(facts, excerpt(text, MESSAGE_MAX))
        case _ if facts["exit_code"] == 0:
            return _of_process(facts, "ended with code 0 before the callable had returned")
        case _:
            return _of_process(facts, "")


def _mro(names: Any) -> tuple[str, ...]:
    """Of classes; what is no array of names says nothing."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(names) if sum(map(len, names)) <= MRO_BYTES else ()


def _wish(wish: Any) -> dict[str, Any]:
    """What is to become of the job, as jobd's own exceptions say it; else nothing."""
    match wish:
        case {"fail": True}:
            return {"wish": "fail"}
        case {"retry": None}:
            return {"wish": "retry"}
        case {"retry": int(after) | float(after)} if not isinstance(after, bool) and after >= 0:
            return {"wish": "retry", "retry_after": float(after)}
        case _:
            return {}


def _excerpt(text: str, limit: int) -> str:
    """Also in the journal at most twice that: a control character takes six bytes there."""
    text = excerpt(text, limit)
    while len(json.dumps(text, ensure_ascii=False).encode()) > 2 * limit:
        text = excerpt(text, len(text.encode()) // 2)
    return text


def _completed(facts: dict[str, Any], value: Any) -> Ending:
    try:
        content = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return Ending(kind="exception", message="the result has a lone surrogate", **facts)
    if len(content) > RESULT_MAX:
        return Ending(kind="exception", message="the result is more than 64 KiB", **facts)
    return Ending(kind="completed", result=content, **facts)


def _strictly(text: str) -> Any:
    """JSON that every reader can take: no NaN, no number beyond a double, no deep nesting."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEPTH_MAX + 2:
            raise ValueError("nested too deep")
    return json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_integer)


def _integer(digits: str) -> int:
    _finite(digits)
    return int(digits)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{excerpt(text, 40)} is beyond a double")
    return number
