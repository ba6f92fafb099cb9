"""The allow-list: what may run at all, decided on names and paths alone.

Nothing is imported, opened or looked up here.  The file system's part (links, `PATH`) is
`jobd.admission`'s, and what only an imported object can tell is the child's.
What is not listed is refused; what this page does not understand is refused.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

ANY: Final = "*"

# What a submission's `env` may not set: each of these turns an admitted program into another
# one.  The loader's and the shell's own, where a program's parts are looked up, and what makes
# an interpreter load code; `*` at the end stands for any rest.
DANGEROUS_ENV: Final = (
    "LD_*", "DYLD_*", "GCONV_PATH", "GLIBC_TUNABLES",
    "PATH", "BASH_ENV", "BASH_FUNC_*", "ENV", "IFS", "PS4", "SHELLOPTS",
    "PYTHON*", "PERL5LIB", "PERL5OPT", "RUBYLIB", "RUBYOPT", "NODE_OPTIONS",
    "JOBD_*",
)  # fmt: skip
_DANGEROUS_NAMES: Final = frozenset(n for n in DANGEROUS_ENV if not n.endswith(ANY))
_DANGEROUS_PREFIXES: Final = tuple(n[:-1] for n in DANGEROUS_ENV if n.endswith(ANY))

_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]")


@dataclass(frozen=True, slots=True)
class Admitted:
    """It may run.  `program` is the resolved absolute file to execute; None for a callable.

    `exact` is False where only a wildcard let a callable pass: the child must then ask whether
    the list (`AllowList.patterns`) admits the module that the object really comes from.
    `function_only` where `[]` listed it: the child must then refuse it if it is a class.
    """

    program: str | None
    exact: bool = True
    function_only: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    why: str


class AllowList:
    """The `[allow]` table, parsed once; asking it costs no more when the list is long."""

    __slots__ = ("_below", "_env", "_exact", "_module", "commands", "patterns")

    def __init__(
        self,
        callables: Mapping[str, Sequence[str]] | None = None,
        commands: Sequence[str] = (),
        env: Iterable[str] = (),
    ) -> None:
        """Of entries in which `callable_fault`, `command_fault` and `env_fault` find no fault."""
        self.commands: tuple[str, ...] = tuple(commands)
        self.patterns: tuple[str, ...] = tuple(map(colon_form, callables or {}))
        self._env = frozenset(map(_env_key, env))
        self._exact: dict[str, frozenset[str]] = {}  # by module:name
        self._module: dict[str, frozenset[str]] = {}  # by module: any name of it
        self._below: dict[str, frozenset[str]] = {}  # by package: any name of any module below it
        for pattern, methods in zip(self.patterns, (callables or {}).values(), strict=True):
            if pattern.endswith(":*"):
                place, key = self._module, pattern.removesuffix(":*")
            elif pattern.endswith(".*"):
                place, key = self._below, pattern.removesuffix(".*")
            else:
                place, key = self._exact, pattern
            place[key] = frozenset(methods)

    def callable(self, target: str, method: str | None) -> Admitted | Refused:
        """Of a target in colon form."""
        module, colon, name = target.partition(":")
        if not colon or not _is_dotted(module) or not _is_name(name):
            return Refused(f"{target!r} is no module:name")
        if method is not None and not _is_name(method):
            return Refused(f"{method!r} is no method's name")
        if module == "__main__":
            return Refused("__main__ is no job's module")
        for_functions = None
        entries = list(self._entries(target, module, name))
        for listed, exact in entries:
            if listed and _admits(listed, method):
                return Admitted(None, exact=exact)
            if not listed and method is None:
                for_functions = for_functions or Admitted(None, exact=exact, function_only=True)
        if for_functions:
            return for_functions
        if not entries:
            return Refused(f"{target} is not on the allow-list")
        what = "the callable itself" if method is None else f"the method {method}"
        return Refused(f"the allow-list does not admit {what} of {target}")

    def _entries(
        self, target: str, module: str, name: str
    ) -> Iterator[tuple[frozenset[str], bool]]:
        """(methods, exact) of each entry that speaks of this name."""
        if (listed := self._exact.get(target)) is not None:
            yield listed, True
        # A wildcard admits no part that begins with `_`: no private names, no dunders, and no
        # `app.__main__`, whose import alone would run a program.
        if name.startswith("_"):
            return
        if (listed := self._module.get(module)) is not None and "__main__" not in module.split("."):
            yield listed, False
        package, dot, part = module.rpartition(".")
        while dot and not part.startswith("_"):
            if (listed := self._below.get(package)) is not None:
                yield listed, False
            package, dot, part = package.rpartition(".")

    def env_refusal(self, names: Iterable[str]) -> Refused | None:
        """Why a submission may not set these, the first that is refused named."""
        for name in names:
            key = _env_key(name)
            dangerous = key in _DANGEROUS_NAMES or key.startswith(_DANGEROUS_PREFIXES)
            if dangerous and key not in self._env:
                return Refused(f"env may not set {name}: [allow] env does not name it")
        return None


def command_matches(pattern: str, path: str) -> bool:
    """Whether a resolved path matches a pattern whose links are resolved as far as they can be.

    `*` stands for any part of one name, never for a `/`, and like a shell's not for the dot
    that a hidden file's name begins with.  Every other character stands for itself.
    """
    if pattern == ANY:
        return True
    wanted, given = pattern.split("/"), path.split("/")
    return len(wanted) == len(given) and all(map(_part_matches, wanted, given))


def callable_fault(pattern: str, methods: Sequence[str]) -> str | None:
    """What is wrong with an entry of `[allow.callables]`, or None."""
    module, colon, name = colon_form(pattern).partition(":")
    if not colon and pattern.endswith(".*"):
        module, name = pattern.removesuffix(".*"), ANY
    if not _is_dotted(module) or not (name == ANY or _is_name(name)):
        return "must be module:Name, module:* or package.*"
    if module == "__main__":
        return "__main__ is no job's module"
    bad = [m for m in methods if m != ANY and not _is_name(m)]
    if bad:
        return f'{bad[0]!r} is no method\'s name; must be names, or "*" for all'
    return None


def command_fault(pattern: str) -> str | None:
    """What is wrong with an entry of `[allow] commands`, or None."""
    if pattern == ANY:
        return None
    if not (_DRIVE.match(pattern) if sys.platform == "win32" else pattern.startswith("/")):
        return 'must be an absolute path or glob, or "*" for any program'
    if "\0" in pattern:
        return "must not contain NUL"
    if "**" in pattern:
        return "must not contain **: * stays within one directory"
    if ".." in pattern.split("/"):
        return "must not contain .."
    return None


def env_fault(name: str) -> str | None:
    """What is wrong with an entry of `[allow] env`, or None."""
    if not name or "=" in name or "\0" in name or ANY in name:
        return "must be the name of an environment variable, without wildcards"
    return None


def colon_form(target: str) -> str:
    """`package.module.Name` as `package.module:Name`; all else as it is, wildcards included."""
    if ":" in target or target.endswith(".*"):
        return target
    module, dot, name = target.rpartition(".")
    return f"{module}:{name}" if dot else target


def _admits(listed: frozenset[str], method: str | None) -> bool:
    """Whether an entry's methods admit this one; None is the callable itself."""
    if method is None:
        return ANY in listed
    return method in listed or (ANY in listed and not method.startswith("_"))


def _is_dotted(module: str) -> bool:
    return all(map(_is_name, module.split(".")))


def _is_name(name: str) -> bool:
    """One identifier, in the form that Python itself would store it under.

    A look-alike (`ﬁle`, `＿private`) would pass for another name in one place and not in the next.
    """
    return name.isidentifier() and unicodedata.is_normalized("NFKC", name)


def _part_matches(pattern: str, name: str) -> bool:
    if ANY not in pattern:
        return pattern == name
    if name.startswith(".") and not pattern.startswith("."):
        return False
    return re.fullmatch(".*".join(map(re.escape, pattern.split(ANY))), name, re.DOTALL) is not None


def _env_key(name: str) -> str:
    """Windows does not tell `Path` from `PATH`."""
    return name.upper() if sys.platform == "win32" else name
