"""jobd.toml at the top of the repository says what is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from jobd.cli.jobd import reference
from jobd.config import load
from jobd.config.tables import LimitsTable, Queue, Table, Tables
from jobd.core.allow import DANGEROUS_ENV
from jobd.core.job import Policy

# Examples, which have no default to be compared with.
EXAMPLES = {"app.jobs:SendWelcomeEmail", "app.jobs:rebuild_index", "app.services.*"}
NO_DEFAULT = {"timeout", "idle_timeout", "cwd", "max_jobs", "total_max_bytes", "max_running"}


@pytest.fixture
def uncommented() -> str:
    """The reference with every `# key = value` and `# [table]` in force."""
    return re.sub(r'^# (?=("?[\w.:*]+"? = |\[))', "", reference(), flags=re.MULTILINE)


def test_as_it_is_it_says_exactly_the_defaults(config, home) -> None:
    as_is, defaults = config(reference()), load(environ=home)
    assert as_is.resolved() == defaults.resolved()
    for is_command in (True, False):
        assert as_is.policy({}, is_command=is_command) == defaults.policy({}, is_command=is_command)


def test_uncommented_it_is_a_config_and_its_defaults_are_true(config, home, uncommented) -> None:
    config(uncommented)
    said = tomllib.loads(uncommented)
    del said["queues"]
    shown = {table: {k: v for k, v in keys.items() if k not in NO_DEFAULT}
             for table, keys in said.items()}  # fmt: skip
    del shown["allow"], shown["python"]["executable"], shown["limits"]
    told = config(uncommented).resolved()
    meant = load(environ={**home, "HOME": str(Path.home())}).resolved()
    for table, keys in shown.items():
        for key in keys:
            if table == "defaults":
                default = getattr(Policy(), key)
                shown_as = list(default) if isinstance(default, tuple) else default
                assert told[table][key] == shown_as, key
            else:
                assert told[table][key] == meant[table][key], key


def keys_of(table: type[Table]) -> set[str]:
    return {field.alias or key for key, field in table.model_fields.items()}


def test_every_key_that_there_is_stands_in_it(uncommented) -> None:
    said = tomllib.loads(uncommented)
    for name, field in Tables.model_fields.items():
        if name != "queues":
            assert set(said[name]) == keys_of(field.default_factory), name
    for name, field in LimitsTable.model_fields.items():
        assert set(said["limits"][name]) == keys_of(field.default_factory), name
    assert set(said["queues"]["mail"]) <= keys_of(Queue)
    assert set(said["allow"]["callables"]) == EXAMPLES


def test_it_names_every_variable_that_a_submission_may_not_set() -> None:
    for name in DANGEROUS_ENV:
        assert name in reference()


def test_lines_fit_a_screen() -> None:
    assert max(map(len, reference().splitlines())) <= 100
