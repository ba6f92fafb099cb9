"""Edits the allow-list in the text of a `jobd.toml`; comments and layout stay.  Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from jobd.cli.arguments import UsageError
from jobd.core.allow import colon_form


class Entry:
    """One line of the list: a callable and its methods, or a program."""

    def __init__(self, target: str, methods: Sequence[str]) -> None:
        target, at, method = target.partition("@")
        self.is_program = target.startswith("/") or target == "*"
        self.methods = [method, *methods] if at else list(methods)
        if not self.is_program:
            target = colon_form(target)
            if ":" not in target and not target.endswith(".*"):
                raise UsageError(f"{target!r} is no package.module:Name, pattern or program")
        elif self.methods:
            raise UsageError("a program has no methods")
        self.target = target

    def allowed(self, text: str) -> str:
        """`text` with the entry in it; an entry that is there keeps its methods."""
        document = _parsed(text)
        allow = _table(document, "allow")
        if self.is_program:
            if "commands" not in allow:
                allow["commands"] = tomlkit.array()
            _add(allow["commands"], [self.target])
        else:
            callables = _table(allow, "callables")
            if self.target not in callables:
                callables[self.target] = tomlkit.array()
                _add(callables[self.target], self.methods or self._default_methods())
            else:
                _add(callables[self.target], self.methods)
        return _checked(document)

    def disallowed(self, text: str) -> str:
        """`text` without the entry, or without these methods of it.  UsageError: isn't there."""
        document = _parsed(text)
        allow = _table(document, "allow")
        if self.is_program:
            _remove(allow.get("commands", []), [self.target], self.target)
            return _checked(document)
        callables = _table(allow, "callables")
        if self.target not in callables:
            raise UsageError(f"{self.target} is not listed in [allow.callables]")
        methods = callables[self.target]
        if self.methods:
            _remove(methods, self.methods, self.target)
        if not self.methods or not methods:  # an empty list would allow a function of that name
            del callables[self.target]
        return _checked(document)

    def shown(self, text: str) -> str:
        """What the list says of it now."""
        allow = tomllib.loads(text).get("allow", {})
        if self.is_program:
            listed = self.target in allow.get("commands", [])
            return f"{self.target} is {'' if listed else 'no longer '}allowed"
        methods = allow.get("callables", {}).get(self.target)
        if methods is None:
            return f"{self.target} is no longer listed"
        return f"{self.target} = [{', '.join(map(repr, methods))}]".replace("'", '"')

    def _default_methods(self) -> list[str]:
        """What a submission that names no method asks for, and no more."""
        module_or_all, _, name = self.target.rpartition(":")
        if not module_or_all or name == "*":
            return ["*"]
        return ["handle"] if name[:1].isupper() else []


def _parsed(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as exc:
        raise UsageError(f"the config is no TOML: {exc}") from exc


def _table(parent: Any, name: str) -> Any:
    if name not in parent:
        # `[allow]` is not written out for the sake of its subtable alone.
        parent[name] = tomlkit.table(is_super_table=name == "allow")
    elif not isinstance(parent[name], dict):
        raise UsageError(f"{name} is no table in the config")
    return parent[name]


def _add(array: Any, values: Sequence[str]) -> None:
    if not isinstance(array, list):
        raise UsageError("the config has no array where one is needed; see `jobd check`")
    for value in values:
        if value not in array:
            array.append(value)


def _remove(array: Any, values: Sequence[str], target: str) -> None:
    for value in values:
        if value not in array:
            what = "in [allow] commands" if value == target else f"a listed method of {target}"
            raise UsageError(f"{value} is not {what}")
        array.remove(value)


def _checked(document: tomlkit.TOMLDocument) -> str:
    """The document as text that means what the document does: a config is no place to find
    out about a rare layout that the library gets wrong."""
    text = tomlkit.dumps(document)
    if tomllib.loads(text) != document.unwrap():
        raise UsageError("this config's layout can't be edited safely; edit it by hand")
    return text
