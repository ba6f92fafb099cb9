"""The code that the demo's jobs run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jobd.demo.app import survey
from jobd.demo.home import archiver

SOURCE = """\
import os, app.inner
from os.path import join
from . import sibling

class Thing:
    def method(self, x):
        if x and not x:
            return len(x)
        elif x:
            for y in x:
                with y:
                    print(y)
        else:
            return [z for z in x if z]

async def short(): pass
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A standard library of one package."""
    package = tmp_path / "app"
    package.mkdir()
    (package / "code.py").write_text(SOURCE)
    (package / "broken.py").write_text("def\n")
    (package / "tests").mkdir()
    (package / "tests" / "test_code.py").write_text("import unittest\n")
    (tmp_path / "_alone.py").write_text("import sys\n")
    monkeypatch.setattr(survey, "STDLIB", str(tmp_path))
    return tmp_path


def test_a_package_is_counted_without_its_tests(library):
    figures = survey.package("app")
    assert figures == {
        "files": 2, "lines": SOURCE.count("\n") + 1, "functions": 2, "classes": 1,
        "longest": (9, "Thing.method", "app/code.py:6"),
        "deepest": (3, "Thing.method", "app/code.py:12"),
        # One for itself; `if`, `and`, `elif`, `for`, and the comprehension's `for` and `if`.
        "complex": (7, "Thing.method", "app/code.py:6"),
        "imports": {"os": 2}, "calls": {"len": 1, "print": 1}, "unreadable": ["app/broken.py"],
    }  # fmt: skip


def test_a_module_in_no_package_goes_by_its_first_letter(library):
    assert survey.modules("a", "c")["imports"] == {"sys": 1}
    assert survey.modules("b", "c")["files"] == 0


@pytest.mark.parametrize("path", [None, "/nonexistent"], ids=["tar", "tarfile"])
def test_an_archive_is_compared_with_what_is_installed(library, tmp_path, monkeypatch, path):
    if path is not None:
        monkeypatch.setenv("PATH", path)
        assert archiver()[0] == sys.executable
    archive = tmp_path / "app.tar.gz"
    subprocess.run([*archiver(), archive, "app"], cwd=library, check=True)
    found = survey.check_archive(str(archive))
    assert (found["files"], found["differing"]) == (3, [])
    (library / "app" / "broken.py").write_text("mended")
    assert survey.check_archive(str(archive))["differing"] == ["app/broken.py"]
