"""What only the imported object can tell: where a name that a wildcard admitted comes from."""

import pytest

WILD = ["jobs:*"]


@pytest.mark.parametrize(
    "source",
    [
        "from os import system as f",
        "from subprocess import run as f",
        "from shutil import rmtree as f",
        "import os\nf = os.system",
        "import functools, os\nf = functools.partial(os.system, 'true')",
        "from builtins import eval as f",
        "from subprocess import Popen as f",
        "import os as f",
        "from other import f",
    ],
)
def test_a_foreign_name_is_refused(call, source):
    files = {"other.py": "def f(*a): print('ran')"}
    ran = call(source, "jobs:f", "true", patterns=WILD, files=files)
    assert "which the allow-list does not admit" in ran.result["unauthorized"]
    assert (ran.code, ran.stdout) == (1, "")


def test_what_the_module_defines_is_admitted(call):
    assert call("def f(): return 1", patterns=WILD).result == {"ok": 1}


def test_a_name_that_is_listed_exactly_may_come_from_anywhere(call):
    assert call("from os.path import basename as f", "jobs:f", "/a/b").result == {"ok": "b"}


def test_an_exact_entry_admits_that_one_name_only(call):
    files = {"other.py": "def f(): return 'f'\ndef g(): return 'g'"}
    patterns = [*WILD, "other:f"]
    assert call("from other import f", patterns=patterns, files=files).result == {"ok": "f"}
    ran = call("from other import g as f", patterns=patterns, files=files)
    assert "unauthorized" in ran.result


def test_a_wildcard_below_a_package_admits_its_modules(call):
    files = {
        "app/__init__.py": "",
        "app/inner.py": "def f(): return 1",
        "app/_hid.py": "def f(): 1",
    }
    for module, admitted in (("app.inner", True), ("app._hid", False)):
        source = f"from {module} import f"
        ran = call(source, patterns=["jobs2:*", "app.*"], files=files)
        assert ("ok" in ran.result) is admitted


@pytest.mark.parametrize(
    "source",
    [
        "import os\nclass F:\n run = os.system",
        "import os\nclass F:\n run = staticmethod(os.system)",
        "from subprocess import Popen\nclass F(Popen):\n run = Popen.communicate",
        "import threading\nclass F(threading.Thread): pass",
    ],
)
def test_a_foreign_method_is_refused(call, source):
    ran = call(source, "jobs:F", method="run", patterns=WILD)
    assert "unauthorized" in ran.result


def test_a_class_listed_as_a_function_is_refused(call):
    ran = call("class f:\n def __new__(cls): print('ran')", function_only=True)
    assert "is a class" in ran.result["unauthorized"]
    assert ran.stdout == ""


def test_neither_cwd_nor_environment_changes_what_is_imported(call, tmp_path, python):
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("jobs.py", "json.py", "sitecustomize.py", "_jobd_child.py"):
        (evil / name).write_text("print('evil')\ndef f(): return 'evil'")
    ran = call(
        "import json\ndef f(): return 'good'", python=python, cwd=str(evil),
        env={"PYTHONPATH": str(evil), "PYTHONSTARTUP": str(evil / "jobs.py"), "HOME": str(evil)},
    )  # fmt: skip
    assert (ran.result, ran.stdout) == ({"ok": "good"}, "")


def test_the_jobs_own_code_cannot_swallow_a_refusal(call):
    source = "class F:\n def __getattr__(self, n): return print\nF.x = print"
    assert "unauthorized" in call(source, "jobs:F", method="x", patterns=WILD).result
