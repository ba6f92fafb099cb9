"""What importing costs, and what is imported."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import jobd

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    """Compiled modules, as an installation has them, wherever this run may write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("pyc")))
        yield


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip


def modules_after(code):
    told = python(f"import sys; before = set(sys.modules)\n{code}\n"
                  "print(*sorted(set(sys.modules) - before))")  # fmt: skip
    return set(told.stdout.split())


def test_the_client_imports_the_standard_library_alone_and_no_asyncio():
    names = modules_after("import jobd.client")
    assert {n for n in names if n.split(".")[0] not in sys.stdlib_module_names} == {
        n for n in names if n.split(".")[0] == "jobd"
    }
    assert not names & {"asyncio", "dataclasses", "pathlib", "ssl", "jobd.client.aio"}


def test_importing_jobd_imports_nothing():
    assert modules_after("import jobd") <= {"jobd", "__future__"}


def test_the_public_names_are_loaded_when_they_are_asked_for():
    assert modules_after("from jobd import run_background_job") >= {"jobd.client.sync"}
    assert "jobd.client" not in modules_after("from jobd import current_job")
    assert modules_after("from jobd.client import AsyncClient") >= {"asyncio"}


def test_every_public_name_is_there():
    for name in jobd.__all__:
        assert getattr(jobd, name) is not None
    assert set(dir(jobd)) == set(jobd.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = jobd.nonsense


def test_the_version_is_the_package_s():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert jobd.__version__ == project["version"]


def test_importing_the_client_takes_less_than_30_ms():
    """Of the processor's time, and the best of several: the machine is shared."""

    def cost_ms(code):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python(code)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    pairs = [(cost_ms("pass"), cost_ms("import jobd.client")) for _ in range(8)]
    assert min(cost for _, cost in pairs) - min(bare for bare, _ in pairs) < 30
