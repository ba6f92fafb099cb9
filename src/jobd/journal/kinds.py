"""Sorts of values: how each is written as JSON, and strictly read back.

Whatever is written can be read again.  Reading takes any parsed JSON, and gives either a valid
value or BadLine.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from jobd.core.ids import ALPHABET, ID_LENGTH

INTEGER_MAX: Final = 2**63 - 1
# JSON nests in a line no deeper than Python's parser can follow at the next start, wherever on
# the stack that will be: what has more brackets than this is tried with levels to spare.
BRACKETS_MAX: Final = 200
LEVELS_SPARE: Final = 100

_ABSENT: Final = object()
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class BadLine(ValueError):
    """Not a line of this journal.  Whether that is a torn write or damage, its place decides."""


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


compact: Final = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode  # fmt: skip
_parse: Final = json.JSONDecoder(parse_constant=_not_json).decode


class Kind(NamedTuple):
    """One sort of value: its JSON text, and from parsed JSON back, or BadLine."""

    write: Callable[[Any], str]
    read: Callable[[Any], Any]


class Part(NamedTuple):
    """One key of an object.  `absent`: the JSON text that stands for its being left out."""

    name: str
    kind: Kind
    absent: str | None = None


class Form:
    """An object of JSON for a class of records: a Kind made of parts, in the order written."""

    def __init__(self, cls: type[Any], *parts: Part, tag: str = "") -> None:
        assert {p.name for p in parts} == set(cls.__dataclass_fields__), f"{cls}: a field forgotten"
        self._cls = cls
        self._tag = tag and f'"type":"{tag}",'
        self._parts = [
            (name, f'"{name}":', kind.write, kind.read, absent, json.loads(absent or "null"))
            for name, kind, absent in parts
        ]
        self._leading = ("type", "id") if tag else ()
        self.kind = Kind(self.write, self.read)

    def write(self, value: Any) -> str:
        texts = []
        for name, key, write, _, absent, _ in self._parts:
            text = write(getattr(value, name))
            if text != absent:
                texts.append(key + text)
        return f"{{{self._tag}{','.join(texts)}}}"

    def read(self, value: Any) -> Any:
        if type(value) is not dict:
            raise BadLine(f"not an object for {self._cls.__name__}: {brief(value)}")
        # `base_ids` finds the records that begin a job by these, without parsing.
        if tuple(value)[: len(self._leading)] != self._leading:
            raise BadLine(f"{self._cls.__name__} must begin with type and id")
        parts = {}
        known = 1 if self._tag else 0
        for name, _, _, read, absent, usual in self._parts:
            found = value.get(name, _ABSENT)
            if found is not _ABSENT:
                known += 1
                parts[name] = read(found)
            elif absent is not None:
                parts[name] = read(usual)
            else:
                raise BadLine(f"{self._cls.__name__} lacks {name!r}")
        if known != len(value):
            allowed = {"type", *(part[0] for part in self._parts)}
            raise BadLine(f"{self._cls.__name__} has no {sorted(set(value) - allowed)}")
        return self._cls(**parts)


def utf8(text: str) -> bytes:
    """Of JSON text.  Lone surrogates, which UTF-8 lacks, are written as escapes."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(lambda lone: f"\\u{ord(lone[0]):04x}", text).encode()


def parse(text: str) -> Any:
    """Strict JSON: no NaN, no Infinity.  BadLine."""
    try:
        return _parse(text)
    except RecursionError:
        raise BadLine("nested too deeply") from None
    except ValueError as exc:
        raise BadLine(f"not JSON: {exc}") from None


def brief(value: Any) -> str:
    """Never raises, unlike repr() of something nested deeply."""
    return repr(value)[:80] if isinstance(value, str | int | float | None) else type(value).__name__


def refuse(value: Any, wanted: str) -> NoReturn:
    raise BadLine(f"{brief(value)} is not {wanted}")


def text_in(value: Any) -> str:
    return value if type(value) is str else refuse(value, "a string")


def _number_out(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value} is no JSON")
    return float.__repr__(float(value))


def number_in(value: Any) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int and abs(value) <= INTEGER_MAX:
        return float(value)
    refuse(value, "a finite number")


def _integer(least: int) -> Kind:
    def write(value: int) -> str:
        if not least <= value <= INTEGER_MAX:
            raise ValueError(f"{value} is out of bounds")
        return int.__repr__(value)

    def read(value: Any) -> int:
        if type(value) is int and least <= value <= INTEGER_MAX:
            return value
        refuse(value, f"an integer from {least}")

    return Kind(write, read)


def _flag_in(value: Any) -> bool:
    return value if type(value) is bool else refuse(value, "true or false")


def one_of(words: Sequence[str]) -> Kind:
    known = {str(word): word for word in words}

    def read(value: Any) -> str:
        if type(value) is str and value in known:
            return known[value]
        refuse(value, f"one of {', '.join(known)}")

    return Kind(compact, read)


def matching(pattern: str, wanted: str) -> Kind:
    match = re.compile(pattern).fullmatch

    def write(value: str) -> str:
        if not match(value):
            raise ValueError(f"{value!r} is not {wanted}")
        return f'"{value}"'

    def read(value: Any) -> str:
        return value if type(value) is str and match(value) else refuse(value, wanted)

    return Kind(write, read)


def nullable(kind: Kind) -> Kind:
    return Kind(
        lambda value: "null" if value is None else kind.write(value),
        lambda value: None if value is None else kind.read(value),
    )


def list_of(kind: Kind) -> Kind:
    def read(value: Any) -> list[Any]:
        return list(map(kind.read, value)) if type(value) is list else refuse(value, "an array")

    return Kind(lambda value: f"[{','.join(map(kind.write, value))}]", read)


def tuple_of(kind: Kind) -> Kind:
    many = list_of(kind)
    return Kind(many.write, lambda value: tuple(many.read(value)))


def _word_out(value: int | str) -> str:
    return COUNT.write(value) if isinstance(value, int) else compact(value)


def _word_in(value: Any) -> int | str:
    return value if type(value) is str else int(COUNT.read(value))


def _call_out(call: bytes) -> str:
    """As it is: jobd's own edge made it from parsed JSON.  Only its depth is looked at."""
    text = call.decode()
    if text.count("{") + text.count("[") > BRACKETS_MAX:
        parse("[" * LEVELS_SPARE + text + "]" * LEVELS_SPARE)
    return text


def _call_in(value: Any) -> bytes:
    return utf8(compact(value)) if type(value) is dict else refuse(value, "a call")


def _result_out(result: bytes) -> str:
    """Parsed and written anew, since a job's own process made it."""
    if result == b"null":
        return "null"
    spare = LEVELS_SPARE if result.count(b"{") + result.count(b"[") > BRACKETS_MAX else 0
    text = compact(parse("[" * spare + result.decode() + "]" * spare))
    return text[spare : len(text) - spare]


def _result_in(value: Any) -> bytes:
    return b"null" if value is None else utf8(compact(value))


TEXT: Final = Kind(compact, text_in)
NUMBER: Final = Kind(_number_out, number_in)
FLAG: Final = Kind(lambda value: "true" if value else "false", _flag_in)
COUNT: Final = _integer(0)
ORDINAL: Final = _integer(1)
WHOLE: Final = _integer(-INTEGER_MAX)  # an exit code: a Windows one may be anything
WORD: Final = Kind(_word_out, _word_in)  # a string, or a number that stands for something
ID: Final = matching(f"[{ALPHABET}]{{{ID_LENGTH}}}", "an id")
CALL: Final = Kind(_call_out, _call_in)
RESULT: Final = Kind(_result_out, _result_in)
