"""The kinds of values that jobd.toml holds.

Each is a function that gives the value in its final form, or raises a ValueError whose text
says what is allowed.  Strict: `true` is no integer, `"5"` no number.
"""

from __future__ import annotations

import keyword
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from jobd.core import ends
from jobd.core.fields import DURATION_MAX_S, FIELDS, LIMITS, Field
from jobd.durations import parse_duration, parse_size

Kind = Callable[[Any], Any]

# What every JSON reader still holds exactly; far above anything that makes sense.
INTEGER_MAX: Final = 2**53 - 1


def integer(at_least: int = 0) -> Kind:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"must be an integer, at least {at_least}")
        if not at_least <= value <= INTEGER_MAX:
            raise ValueError(f"must be at least {at_least} and at most {INTEGER_MAX}")
        return value

    return check


def duration(*, above_zero: bool = False) -> Kind:
    """Seconds, from a number or from text."""

    def check(value: Any) -> float:
        if isinstance(value, str):
            value = parse_duration(value)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError('must be seconds, or a string such as "90s", "1.5m", "2h", "1d"')
        if not 0 <= value <= DURATION_MAX_S or (above_zero and value == 0):
            least = "more than 0" if above_zero else "at least 0"
            raise ValueError(f"must be {least} and at most 100 years")
        return float(value)

    return check


def size(at_least: int = 0) -> Kind:
    """Bytes, from a number or from text."""
    whole = integer(at_least)

    def check(value: Any) -> int:
        if isinstance(value, str):
            value = parse_size(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError('must be bytes, or a string such as "512KiB", "64MiB"')
        return int(whole(value))

    return check


def rotation(value: Any) -> str | int:
    """`daily`, or the bytes at which a file is rotated."""
    if value == "daily":
        return "daily"
    try:
        return int(size(at_least=4096)(value))
    except ValueError as exc:
        raise ValueError(f'must be "daily" or a size: {exc}') from None


def choice(*allowed: str) -> Kind:
    def check(value: Any) -> str:
        if isinstance(value, str) and value in allowed:
            return value
        raise ValueError(f"must be {' or '.join(map(repr, allowed))}")

    return check


def switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a string that is not empty")
    if "\0" in value:
        raise ValueError("must not contain NUL")
    return value


def path(value: Any) -> Path:
    """Absolute; `~/` is the home of the daemon's user.  Nothing is relative to anything else."""
    expanded = Path(os.path.expanduser(text(value)))
    if not expanded.is_absolute():
        raise ValueError("must be an absolute path, or begin with ~/")
    return expanded


def array(kind: Kind, what: str) -> Kind:
    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be an array of {what}")
        return tuple(_each(kind, enumerate(value)).values())

    return check


def env_name(value: Any) -> str:
    if not isinstance(value, str) or not value or re.search(r"[=\0*]", value):
        raise ValueError("must be the name of an environment variable, without = or wildcards")
    if value.startswith("JOBD_"):
        raise ValueError("must not begin with JOBD_: those are set by jobd itself")
    return value


def module_name(value: Any) -> str:
    """As an import statement has it, whole."""
    parts = value.split(".") if isinstance(value, str) else [""]
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        raise ValueError(f"{value!r} is no module's name, as package.module")
    return ".".join(parts)


def environment(value: Any) -> dict[str, str]:
    """Names and values to set.  A relative place in `PATH` would be a place of the job's `cwd`."""
    if not isinstance(value, dict):
        raise ValueError("must be a table of strings")

    def entry(pair: tuple[str, Any]) -> str:
        name, value = env_name(pair[0]), pair[1]
        if not isinstance(value, str) or "\0" in value:
            raise ValueError("must be a string without NUL")
        if name == "PATH" and not all(map(os.path.isabs, value.split(os.pathsep))):
            raise ValueError(f"must be absolute directories, with {os.pathsep!r} between them")
        return value

    return _each(entry, ((name, (name, value)) for name, value in value.items()))


def policy_field(name: str) -> Kind:
    """A field of a job's policy, by the same table that a submission is checked against."""
    field = FIELDS[name]

    def check(value: Any) -> Any:
        value = _SHAPES[field.shape](field, value)
        fault = field.fault(value)
        if fault is not None:
            raise ValueError(fault)
        return value

    return check


def limit(name: str) -> Kind:
    """One of `limits`, by the same table that a submission is checked against."""
    field = LIMITS[name]

    def check(value: Any) -> Any:
        value = size()(value) if field.unit == "bytes" else _SHAPES[field.shape](field, value)
        fault = field.fault(value)
        if fault is not None:
            raise ValueError(fault)
        return value

    return check


def _each(kind: Kind, items: Any) -> dict[Any, Any]:
    """Every item checked; the ValueError names all that are wrong."""
    checked, faults = {}, []
    for key, value in items:
        try:
            checked[key] = kind(value)
        except ValueError as exc:
            faults.append(f"{key!r}: {exc}" if isinstance(key, str) else f"item {key + 1}: {exc}")
    if faults:
        raise ValueError("; ".join(faults))
    return checked


def _string_field(field: Field, value: Any) -> str:
    value = text(value)
    if field is FIELDS["cwd"]:
        return str(path(value))
    return str(value)


def _integer_field(field: Field, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"must be an integer, {field.at_least:g} to {field.at_most:g}")
    return value


def _number_field(field: Field, value: Any) -> float:
    if field.unit == "s":
        return float(duration(above_zero=field.above == 0)(value))
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"must be a number, {field.at_least:g} to {field.at_most:g}")
    return float(value)


def _backoff_field(field: Field, value: Any) -> str | tuple[float, ...]:
    if isinstance(value, str):
        return value
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be one of {', '.join(field.choices)}, or an array of waits")
    return tuple(array(duration(), "waits")(value))


def _codes_field(_: Field, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("must be an array of exit codes")
    return tuple(value)


def _ends_field(field: Field, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("must be an array of exit codes, names of signals or of exceptions")
    fault = field.fault(value)  # before its items are looked at further
    if fault is not None:
        raise ValueError(fault)
    return tuple(array(_end, "ends")(value))


def _end(value: int | str) -> int | str:
    fault = ends.fault(value)
    if fault is not None:
        raise ValueError(fault)
    return ends.stored(value)


_SHAPES: Final[dict[str, Callable[[Field, Any], Any]]] = {
    "string": _string_field,
    "integer": _integer_field,
    "number": _number_field,
    "backoff": _backoff_field,
    "codes": _codes_field,
    "ends": _ends_field,
}
