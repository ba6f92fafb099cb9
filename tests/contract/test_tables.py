"""Every name in the protocol's tables has a behavioural test of its own."""

from __future__ import annotations

import argparse
import ast
from importlib import import_module
from pathlib import Path

import pytest

from jobd.cli import jobctl
from jobd.cli import jobd as jobd_command
from jobd.cli.arguments import Parser, common_options
from jobd.config.tables import Queue, Table, Tables
from jobd.core.fields import FIELDS
from jobd.errors import REFUSALS
from jobd.rpc.methods import COMING, METHODS

TESTS = Path(__file__).parents[1]

# The contract's, section 4: what a script may rely on.
EXITS = {
    "jobctl": {"0", "1", "2", "3", "4", "5", "6", "7", "124"},
    "jobctl run": {"0", "1", "3", "128+n", "124", "125", "126", "127", "130"},
    "jobd": {"0", "100", "111"},
}


def covered() -> set[str]:
    """What the marks of the tests in contract/ and daemon/ name."""
    names = set()
    for folder in ("contract", "daemon"):
        for path in sorted((TESTS / folder).glob("test_*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "covers":
                    assert node.args, f"{path}:{node.lineno}"
                    names |= {ast.literal_eval(argument) for argument in node.args}
    return names


# It takes seconds, and has a folder of its own.
ELSEWHERE = {"jobd:demo": TESTS / "demo" / "test_demo.py"}

COVERED = covered() | {name for name, path in ELSEWHERE.items() if path.is_file()}


def methods() -> set[str]:
    return {f"method:{name}" for name in (*METHODS, *COMING)}


def params() -> set[str]:
    return {
        f"param:{name}.{param}"
        for name, method in METHODS.items()
        if method.params is not None
        for param in method.params.model_fields
    }


def fields() -> set[str]:
    return {f"field:{name}" for name in FIELDS}


def errors() -> set[str]:
    return {f"error:{code}" for code in REFUSALS}


def exits() -> set[str]:
    told = {str(code) for _, code in jobctl.EXITS} | {str(jobctl.EXIT_TIMEOUT)}
    assert told <= EXITS["jobctl"]
    return {f"exit:{command} {code}" for command, codes in EXITS.items() for code in codes}


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {
        option
        for action in parser._actions
        for option in action.option_strings
        if option not in ("-h", "--help", "--version")
    }


def of_jobctl() -> set[str]:
    names = {f"jobctl:{verb}" for verb in (*jobctl.VERBS, *jobctl.LATER)}
    for verb, (module, _) in jobctl.VERBS.items():
        parser = Parser(prog=verb)
        common_options(parser)
        import_module(f"jobd.cli.{module}").VERBS[verb][0](parser)
        names |= {f"option:{verb} {option}" for option in options_of(parser)}
    return names


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {
        name: sub
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, sub in action.choices.items()
    }


def of_jobd() -> set[str]:
    names = set()
    for name, command in subcommands(jobd_command._commands()).items():
        names |= {f"jobd:{name}"}
        names |= {f"option:jobd {name} {option}" for option in options_of(command)}
        for tool, parser in subcommands(command).items():
            names |= {f"option:jobd {name} {tool} {option}" for option in options_of(parser)}
    return names


def keys_of(table: type[Table], name: str) -> set[str]:
    """Of a table in a table the keys, not the table."""
    names = {f"config:{name}.{key}" for key in table.later - set(FIELDS)}
    for key, field in table.model_fields.items():
        inner = field.default_factory
        if isinstance(inner, type) and issubclass(inner, Table):
            names |= keys_of(inner, f"{name}.{key}")
        else:
            names.add(f"config:{name}.{field.alias or key}")
    return names


def of_config() -> set[str]:
    names = {f"config:{table}" for table in Tables.later}
    for name, field in Tables.model_fields.items():
        table = Queue if name == "queues" else field.default_factory
        names |= keys_of(table, name)
    return names


@pytest.mark.parametrize(
    "table", [methods, params, fields, errors, exits, of_jobctl, of_jobd, of_config]
)
def test_every_entry_of_the_table_has_a_test(table):
    names = table()
    assert names
    assert not sorted(names - COVERED)


def test_no_test_covers_what_there_is_not():
    there = (
        methods() | params() | fields() | errors() | exits() | of_jobctl() | of_jobd() | of_config()
    )
    later = {f"config:{table}.{name}" for table in ("defaults", "queues") for name in FIELDS}
    assert not sorted(COVERED - there - later)
