"""How the standard library is written: what the demo's jobs run.  Knows nothing of jobd."""

from __future__ import annotations

import ast
import builtins
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

STDLIB = os.path.dirname(os.path.abspath(os.__file__))
TESTS = {"test", "tests", "idle_test", "__pycache__"}
BUILT_IN = frozenset(dir(builtins))

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LOOPS = (ast.For, ast.AsyncFor, ast.While)
BLOCKS = (*LOOPS, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
DECISIONS = (*LOOPS, ast.If, ast.IfExp, ast.ExceptHandler, ast.match_case, ast.comprehension)


def package(name: str) -> dict[str, Any]:
    """Figures of one package, without its tests."""
    return _measured(_sources(os.path.join(STDLIB, name)), own={name})


def modules(first: str, last: str) -> dict[str, Any]:
    """Figures of the modules that are in no package and whose letter is in first…last."""
    names = sorted(entry for entry in os.listdir(STDLIB) if entry.endswith(".py"))
    chosen = [name for name in names if first <= name.lstrip("_")[0].lower() <= last]
    return _measured(iter([os.path.join(STDLIB, name) for name in chosen]), own=set())


def check_archive(archive: str) -> dict[str, Any]:
    """Compares what is in the archive with what is installed, byte by byte."""
    files, size, differing = 0, 0, []
    with tarfile.open(archive) as tar:
        for member in tar:
            packed = tar.extractfile(member)
            if packed is None:  # a directory
                continue
            content = packed.read()
            with open(os.path.join(STDLIB, member.name), "rb") as installed:
                if installed.read() != content:
                    differing.append(member.name)
            files, size = files + 1, size + len(content)
    print(f"{files} files, {size:,} bytes, {len(differing)} of them differ")
    return {
        "files": files, "bytes": size, "archive_bytes": os.path.getsize(archive),
        "differing": differing,
    }  # fmt: skip


class Collatz:
    """Halve it where it is even, else triple it and add one: does that always lead to 1?"""

    def search(self, limit: int) -> int | None:
        """The first number below the limit from which it does not.  Nobody knows of any."""
        for start in range(2, limit):
            number = start
            while number >= start:  # what is below has been seen to come down
                number = number // 2 if number % 2 == 0 else 3 * number + 1
            if start % 10_000 == 0:
                print(f"up to {start:,} all come down to 1")
        return None


def _sources(directory: str) -> Iterator[str]:
    for place, below, names in os.walk(directory):
        below[:] = sorted(set(below) - TESTS)
        for name in sorted(names):
            if name.endswith(".py"):
                yield os.path.join(place, name)


def _measured(paths: Iterator[str], own: set[str]) -> dict[str, Any]:
    """What a package imports of its `own` is not counted."""
    figures = _Figures(own)
    for path in paths:
        figures.add(path)
    return figures.told()


class _Figures:
    """Of the files added so far."""

    def __init__(self, own: set[str]) -> None:
        self._own = own
        self._count = Counter(files=0, lines=0, functions=0, classes=0)
        self._most: dict[str, tuple[int, str | None, str | None]] = {
            "longest": (0, None, None), "deepest": (0, None, None), "complex": (0, None, None)
        }  # fmt: skip
        self._imports: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._unreadable: list[str] = []

    def told(self) -> dict[str, Any]:
        """As JSON.  `longest`, `deepest` and `complex` are [figure, name, file:line]."""
        return {
            **self._count, **self._most, "imports": dict(self._imports),
            "calls": dict(self._calls), "unreadable": self._unreadable,
        }  # fmt: skip

    def add(self, path: str) -> None:
        shown = os.path.relpath(path, STDLIB)
        with open(path, "rb") as file:
            source = file.read()
        lines = source.count(b"\n")
        self._count.update(files=1, lines=lines)
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError) as exc:  # of another Python, or no Python at all
            print(f"{shown}: {exc}")
            self._unreadable.append(shown)
            return
        print(f"{shown}: {lines:,} lines")
        decisions: Counter[str] = Counter()
        functions: dict[str, str] = {}
        for node, name, depth in _nodes(tree):
            decisions[name] += _decisions(node)
            if isinstance(node, ast.stmt):
                at = f"{shown}:{node.lineno}"
                self._statement(node, name, at)
                self._top("deepest", depth, name or None, at)
                if isinstance(node, FUNCTIONS):
                    functions.setdefault(name, at)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                self._calls.update({node.func.id} & BUILT_IN)
        for name, at in functions.items():
            self._top("complex", 1 + decisions[name], name, at)  # McCabe's number

    def _statement(self, node: ast.stmt, name: str, at: str) -> None:
        if isinstance(node, FUNCTIONS):
            self._count["functions"] += 1
            self._top("longest", (node.end_lineno or node.lineno) - node.lineno + 1, name, at)
        elif isinstance(node, ast.ClassDef):
            self._count["classes"] += 1
        self._imports.update(name for name in _imported(node) if name not in self._own)

    def _top(self, what: str, figure: int, name: str | None, at: str) -> None:
        if figure > self._most[what][0]:
            self._most[what] = (figure, name, at)


def _nodes(tree: ast.Module) -> Iterator[tuple[ast.AST, str, int]]:
    """Each node, the definition it is (in), and how many loops, branches… are around it."""
    stack: list[tuple[ast.AST, str, int]] = [(tree, "", 0)]
    while stack:
        node, name, depth = stack.pop()
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            name, depth = f"{name}.{node.name}".lstrip("."), 0
        yield node, name, depth
        below = depth + isinstance(node, BLOCKS)
        # To the parser an `elif` is an `if` in an `else`; to a reader it is no deeper.
        chain = node.orelse if isinstance(node, ast.If) and len(node.orelse) == 1 else []
        for child in ast.iter_child_nodes(node):
            same = isinstance(child, ast.If) and child in chain
            stack.append((child, name, depth if same else below))


def _decisions(node: ast.AST) -> int:
    """How many ways a node adds to go on: `if`, loops, `except`, `case`, `and`, `or`…"""
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    return int(isinstance(node, DECISIONS))


def _imported(node: ast.stmt) -> list[str]:
    """The top of each module named."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module.partition(".")[0]]
    return []
