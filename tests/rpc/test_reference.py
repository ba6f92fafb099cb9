"""docs/protocol.md says what the code does."""

import ast
import re
from pathlib import Path

import pytest

from jobd.rpc.methods import COMING, METHODS
from jobd.rpc.reference import TABLES, main, rendered

HERE = Path(__file__).parent
PROTOCOL = HERE.parent.parent / "docs" / "protocol.md"


@pytest.fixture(scope="module")
def protocol():
    return PROTOCOL.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def texts():
    """Every string in the tests of this folder but this one."""
    trees = [ast.parse(path.read_text()) for path in HERE.glob("*.py") if path != Path(__file__)]
    return {
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int)
    }


def table(protocol, name):
    """The first column of a table, without back quotes."""
    body = re.search(rf"<!-- table: {name} -->(.*?)<!-- end -->", protocol, re.DOTALL)[1]
    rows = [line.split("|")[1].strip(" `") for line in body.splitlines() if line.startswith("|")]
    return rows[2:]


def test_the_tables_are_current(protocol):
    assert rendered(protocol) == protocol, "run `python -m jobd.rpc.reference`"


def test_every_table_is_shown(protocol):
    assert set(re.findall(r"<!-- table: (\w+) -->", protocol)) == set(TABLES)


def test_the_command_draws_them_anew(tmp_path, protocol):
    copy = tmp_path / "protocol.md"
    emptied = re.sub(
        r"(<!-- table: \w+ -->\n).*?(<!-- end -->)", r"\1\2", protocol, flags=re.DOTALL
    )
    assert len(emptied) < len(protocol)
    copy.write_text(emptied, encoding="utf-8")
    main(str(copy))
    assert copy.read_text(encoding="utf-8") == protocol


def test_each_event_is_told_in_a_test(protocol, texts):
    for event in table(protocol, "events"):
        assert event in texts, f"no test sees {event}"


def test_later_methods_are_named(protocol):
    assert all(f"`{name}`" in protocol for name in COMING)
    assert not set(COMING) & set(METHODS)


def test_links_within_the_page_lead_somewhere(protocol):
    heads = re.findall(r"^## (.*)$", protocol, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads}
    assert set(re.findall(r"\]\(#([^)]+)\)", protocol)) == anchors
