"""`TARGET [METHOD] [ARG… NAME=TEXT… NAME:=JSON…]`: a call as one writes it in a shell.  Pure."""

from __future__ import annotations

import json
import re

from jobd.cli.arguments import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_ARGUMENT = re.compile(r"([^\W\d]\w*)?(:?=)(.*)", re.DOTALL)


def call_of(words: list[str]) -> dict[str, Any]:
    """`target`, and what was said of `method`, `args`, `kwargs`."""
    target, words = words[0], words[1:]
    if target.startswith(("/", "./", "../")):
        raise UsageError(f"{target} looks like a program: write it after `--`")
    call: dict[str, Any] = {"target": target}
    target, at, method = target.partition("@")
    if at:
        call = {"target": target, "method": method or None}
    elif words and _is_class(target) and words[0].isidentifier():
        call["method"] = words[0]
        words = words[1:]
    return call | _arguments(words)


def strict_json(text: str) -> Any:
    """ValueError for what is no JSON, NaN and the infinities among it."""
    return json.loads(text, parse_constant=_no_constant)


def _is_class(target: str) -> bool:
    name = re.split(r"[.:]", target)[-1]
    return name[:1].isupper()


def _arguments(words: list[str]) -> dict[str, Any]:
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        match = _ARGUMENT.fullmatch(word)
        if match is None:  # `https://example.org/?a=b` is one too: what precedes = is no name
            args.append(word)
            continue
        name, sign, text = match.groups()
        value = text if sign == "=" else _json(word, text)
        if name is None:
            args.append(value)
        elif name in kwargs:
            raise UsageError(f"{name} is given twice")
        else:
            kwargs[name] = value
    said: dict[str, Any] = {"args": args, "kwargs": kwargs}
    return {name: value for name, value in said.items() if value}


def _json(word: str, text: str) -> Any:
    try:
        return strict_json(text)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{word!r}: what follows := is no JSON ({exc})") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
