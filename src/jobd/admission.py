"""May this run?  The allow-list's questions to the file system: links, and `PATH`.

Asked at each submission and again at each start, so it is quick: for an admitted program it
resolves two paths, however long the list is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jobd.core.allow import ANY, Admitted, AllowList, Refused, command_matches


class Admission:
    """Of one config.  `path`: the PATH that jobs get, in which bare names are looked up."""

    def __init__(self, allow: AllowList, path: str) -> None:
        self._allow = allow
        # A relative place would be one of whatever directory jobd happens to be in.
        self._places = tuple(filter(os.path.isabs, path.split(os.pathsep)))
        self._any = ANY in allow.commands
        self._patterns = tuple(pattern for pattern in allow.commands if pattern != ANY)
        self._written_out = frozenset(p for p in self._patterns if ANY not in p)
        self._files: dict[str, str] = {}  # pattern by the file that it led to when last resolved
        self._globs: dict[str, str] = {}

    def judge(self, call: Mapping[str, Any]) -> Admitted | Refused:
        """Of a valid call as it is stored: `target` in colon form, `method` in place."""
        if env := call.get("env"):
            refused = self._allow.env_refusal(env)
            if refused is not None:
                return refused
        command = call.get("command")
        if command is None:
            return self._allow.callable(call["target"], call.get("method"))
        return self._program(command[0])

    def _program(self, name: str) -> Admitted | Refused:
        if "\0" in name or not _encodes(name):
            return Refused(f"{name!r} is no program's name")
        if os.path.isabs(name):
            resolved = os.path.realpath(name)
            if self._admits(name, resolved):
                return Admitted(resolved)
            leads = "" if resolved == name else f" (it leads to {resolved})"
            return Refused(f"{name} is not on the allow-list{leads}")
        if os.path.basename(name) != name or name in {"", os.curdir, os.pardir}:
            return Refused(f"{name!r} is neither an absolute path nor a bare name")
        return self._bare(name)

    def _bare(self, name: str) -> Admitted | Refused:
        candidates = [os.path.join(place, name) for place in self._places]
        for found in candidates:
            if os.access(found, os.X_OK) and not os.path.isdir(found):
                resolved = os.path.realpath(found)
                if self._admits(found, resolved):
                    return Admitted(resolved)
                return Refused(f"{name} is {resolved}, which is not on the allow-list")
        # It is not there now.  If it may be, then its start is to say so, as with an absolute
        # path; never the bare name, which would be looked up in the job's `cwd`.
        for missing in sorted(map(os.path.realpath, candidates), key=os.path.exists, reverse=True):
            if self._admits(missing, missing):
                return Admitted(missing)
        return Refused(f"{name} is not on the allow-list, nor found in {':'.join(self._places)}")

    def _admits(self, name: str, resolved: str) -> bool:
        """A link among the patterns may lead elsewhere by now: what hits is resolved again, and
        before a refusal all are."""
        if self._any or name in self._written_out:  # the same text leads to the same file
            return True
        if self._hits(resolved):
            return True
        self._resolve()
        return self._hits(resolved)

    def _hits(self, resolved: str) -> bool:
        pattern = self._files.get(resolved)
        if pattern is not None and _resolved(pattern) == resolved:
            return True
        return any(
            command_matches(glob, resolved) and _resolved(pattern) == glob
            for glob, pattern in self._globs.items()
        )

    def _resolve(self) -> None:
        self._files.clear()
        self._globs.clear()
        for pattern in self._patterns:
            place = self._globs if ANY in pattern else self._files
            place[_resolved(pattern)] = pattern


def _resolved(pattern: str) -> str:
    """The pattern, its links resolved: of a glob those before the first `*`."""
    literal, star, _ = pattern.partition(ANY)
    if not star:
        return os.path.realpath(pattern)
    directory = os.path.dirname(literal)
    return os.path.join(os.path.realpath(directory), pattern[len(directory) :].lstrip(os.sep))


def _encodes(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
