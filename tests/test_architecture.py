"""The rules that no linter knows: who may import whom, how big things may grow, what is banned."""

from __future__ import annotations

import ast
import re
import runpy
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import jobd

SRC = Path(jobd.__file__).parent
ROOT = SRC.parent.parent
MODULES = sorted(SRC.rglob("*.py"))
TESTS = sorted(Path(__file__).parent.rglob("*.py"))
MUTANTS = runpy.run_path(str(Path(__file__).parent / "mutants" / "table.py"))["MUTANTS"]

LINES_MAX = 400
FUNCTION_LINES_MAX = 60
JUNK_DRAWERS = {
    "manager", "handler", "helper", "helpers", "util", "utils", "common", "base", "context", "data",
    "info", "misc",
}  # fmt: skip

# The supervisor shares names, files and bounds with the keeper and the child; these run there.
RUN_ELSEWHERE = {
    "jobd.keeper.keeper", "jobd.keeper.attempt", "jobd.keeper.posix", "jobd.child.main",
}  # fmt: skip
STAND_IN = "_jobd_child"  # the name that the child's siblings go by in a foreign interpreter

OWN_PROCESSES = {"keeper", "child", "current.py", "client", "cli", "dashboard", "service"}
STRANGERS = {"journal", "supervisor", "rpc"}  # they meet in daemon.py and main.py only
# What these may import of jobd, beside the standard library and nothing else.
ALONE = {
    "core": {"jobd.core", "jobd.errors"},
    "keeper": {"jobd.keeper", "jobd.linux"},
    "child": {"jobd.child", "jobd.current"},
    "client": {"jobd.client", "jobd.errors", "jobd.paths", "jobd.durations"},
    "errors.py": set(),
    "durations.py": set(),
    "instants.py": set(),
    "paths.py": set(),
    "current.py": set(),
    "linux.py": set(),
}
EDGES_ONLY = {"pydantic", "pydantic_core", "tomlkit", "rich"}  # never on the path of a job
PYTHON_OF_JOBS = (3, 8)  # what runs inside a job's process: see CONTRACT, callables


def name(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def home(path: Path) -> str:
    return name(path).split("/")[0]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> set[str]:
    """Every module named in an import, as deep as it is named: `jobd.core.job`, not `jobd`."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or home(path) == "child", "absolute imports"
            module = f"jobd.{home(path)}" if node.level else node.module
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                found.add(whole if is_module(whole) else module)
    return found


def is_module(dotted: str) -> bool:
    if dotted.split(".", maxsplit=1)[0] != "jobd":
        return False
    place = SRC.parent.joinpath(*dotted.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def inside(module: str, allowed: set[str]) -> bool:
    return any(module == each or module.startswith(each + ".") for each in allowed)


def of_jobd(path: Path) -> set[str]:
    return {module for module in imports(path) if inside(module, {"jobd"})}


def foreign(path: Path) -> set[str]:
    """Top-level packages that are neither jobd's nor the standard library's."""
    tops = {module.split(".")[0] for module in imports(path)}
    own = {"jobd", "_typeshed", STAND_IN} if home(path) == "child" else {"jobd", "_typeshed"}
    return tops - own - set(sys.stdlib_module_names)


def inside_top(path: Path) -> bool:
    """Where an extra is used; the package itself is imported without it."""
    return name(path).startswith("cli/top/") and path.name != "__init__.py"


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))


def each(
    items: Sequence[Any], named: Callable[[Any], str]
) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """A rule becomes one test, not one for each item: pytest takes longer over a test than the
    rule does.  A failure names each item that breaks it, and how.
    """

    def over(rule: Callable[[Any], None]) -> Callable[[], None]:
        def test() -> None:
            broken = []
            for item in items:
                try:
                    rule(item)
                except (AssertionError, SyntaxError) as why:
                    broken.append(f"{named(item)}: {why}")
            assert items
            if broken:
                pytest.fail("\n".join(broken), pytrace=False)

        test.__name__, test.__doc__ = rule.__name__, rule.__doc__
        return test

    return over


each_module = each(MODULES, name)


@each_module
def test_dependencies_point_inwards(path):
    allowed = ALONE.get(home(path))
    if allowed is not None:
        strays = {module for module in of_jobd(path) if not inside(module, allowed)}
        assert not strays, f"{home(path)} knows only {sorted(allowed) or 'itself'}"
        assert not foreign(path), f"{home(path)} is standard library only"


@each_module
def test_the_edges_meet_in_daemon_and_main_only(path):
    if home(path) in STRANGERS:
        others = {f"jobd.{edge}" for edge in STRANGERS - {home(path)}} | {"jobd.main"}
        assert not {module for module in of_jobd(path) if inside(module, others)}
    if home(path) == "supervisor":
        runs = {module for module in of_jobd(path) if inside(module, RUN_ELSEWHERE)}
        assert not runs, "it talks to the keeper, it does not run it"
    if name(path) == "daemon.py":
        assert not {
            module for module in of_jobd(path) if inside(module, {f"jobd.{e}" for e in STRANGERS})
        }


@each_module
def test_only_the_clock_has_a_watch(path):
    if home(path) not in OWN_PROCESSES and name(path) != "clock.py":
        assert "time" not in imports(path), "ask clock.py; it is the only one with a watch"


@each_module
def test_the_core_does_no_io(path):
    if home(path) == "core":
        banned = {
            "os",
            "io",
            "time",
            "random",
            "asyncio",
            "logging",
            "socket",
            "pathlib",
            "threading",
        }
        assert not {module for module in imports(path) if inside(module, banned)}
        assert not [
            call for call in calls(path) if getattr(call.func, "id", "") in ("open", "print")
        ]
        assert not [node for node in ast.walk(tree(path)) if isinstance(node, ast.Await)]


@each_module
def test_nothing_comes_from_a_dependency_that_was_not_chosen(path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]["top"] if inside_top(path) else []
    declared = {re.match("[a-z]+", wanted)[0] for wanted in [*project["dependencies"], *extras]}
    assert foreign(path) <= {*declared, "pydantic_core"}  # pydantic's own other half
    if home(path) in ("journal", "supervisor") or name(path) in ("daemon.py", "hub.py", "clock.py"):
        assert not foreign(path) & EDGES_ONLY, "translation is the edges' business"


@each_module
def test_everything_fits_in_the_head(path):
    assert path.stem not in JUNK_DRAWERS, "name it after what it does"
    assert path.parent.name not in JUNK_DRAWERS
    assert path.read_text(encoding="utf-8").count("\n") <= LINES_MAX
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, node.name


@each_module
def test_every_module_says_what_it_promises(path):
    if path.stat().st_size:
        assert ast.get_docstring(tree(path)), "one line: the module's promise"


@each_module
def test_no_shell_no_pickle_no_eval(path):
    assert not imports(path) & {"pickle", "marshal", "shelve", "dbm"}
    for call in calls(path):
        shell = [word for word in call.keywords if word.arg == "shell"]
        assert not shell, "a command runs without a shell"
        called = ast.unparse(call.func)
        assert called not in ("eval", "exec", "os.system", "os.popen", "create_subprocess_shell"), (
            called
        )
        assert not called.endswith(".create_subprocess_shell")


@each_module
def test_no_exception_is_swallowed(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            silent = all(isinstance(each, ast.Pass) for each in node.body)
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            assert not (silent and broad), f"line {node.lineno}"


@each_module
def test_what_runs_inside_a_job_is_python_3_8(path):
    if home(path) == "child" or name(path) == "current.py":
        ast.parse(path.read_text(encoding="utf-8"), feature_version=PYTHON_OF_JOBS)


@each(TESTS, str)
def test_no_test_sleeps_for_a_fixed_time(path):
    """It moves a clock, waits for a signal, or waits for a condition with a limit."""
    waiting = {
        id(call)
        for loop in ast.walk(tree(path))
        if isinstance(loop, ast.While | ast.For | ast.AsyncFor)
        for call in ast.walk(loop)
        if isinstance(call, ast.Call)
    }
    for call in calls(path):
        fixed = (
            ast.unparse(call.func) in ("time.sleep", "asyncio.sleep", "anyio.sleep")
            and call.args
            and isinstance(call.args[0], ast.Constant)
            and call.args[0].value != 0
        )
        assert not fixed or id(call) in waiting, f"line {call.lineno}"


@each(MUTANTS, lambda mutant: mutant.name)
def test_every_mutant_can_be_planted(mutant):
    """Else `make mutants`, which takes minutes, would be the first to notice."""
    assert (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1


@each([*MODULES, *TESTS], str)
def test_nothing_names_the_machine_it_was_written_on(path):
    here = "/" + "work/"
    assert here not in path.read_text(encoding="utf-8")
