"""Nothing runs that is not listed; what tries to run all the same is refused."""

from __future__ import annotations

import os
import sys

import pytest

covers = pytest.mark.covers

TRUE = os.path.realpath("/bin/true")


def may(d, **fields):
    """Whether a submission is taken."""
    id = fields.pop("request_id", None)
    try:
        d.submit(**fields, delay=3600)
    except Exception as refused:
        assert refused.code == -32001, refused
        assert refused.data["type"] == "unauthorized"
        return False
    assert id is None
    return True


@pytest.fixture(scope="module")
def strict(request):
    """Allows little: see the table."""
    from outside.installation import Installation
    from outside.jobs import JOBS

    d = Installation()
    programs = d.home / "programs"
    (programs / "deeper").mkdir(parents=True)
    for place in (programs / "listed", programs / "deeper" / "below", d.home / "target"):
        place.write_text("#!/bin/sh\necho ran $0\n")
        place.chmod(0o755)
    (programs / "escape").symlink_to("/bin/cat")
    (programs / "inside").symlink_to(programs / "listed")
    (d.home / "link").symlink_to(d.home / "target")
    (d.home / "alias").symlink_to(programs)
    d.module(JOBS)
    d.module("from os import system\nimport os\nclass Deep:\n    def handle(self): return 'deep'\n"
             "    def _no(self): return 'no'\ndef f(): return 'f'\ndef _g(): return 'g'\n"
             "from jobs import nothing\n", "app/services/deep/inner")  # fmt: skip
    d.module("def f(): return 'private'\n", "app/services/_private")
    d.module("ran = True\ndef f(): return 'main'\n", "app/services/__main__")
    d.module("from os import system\nclass A:\n    def handle(self): return 1\n    def other(self):"
             " return 2\nclass B(A):\n    pass\ndef f(): return 3\ndef g(): return 4\n",
             "exact")  # fmt: skip
    for package in ("app", "app/services", "app/services/deep"):
        d.module("", f"{package}/__init__")
    d.write_config({
        "allow": {
            "commands": [str(programs / "*"), str(d.home / "link"), "/bin/echo"],
            "env": ["LD_LIBRARY_PATH"],
            "callables": {
                "jobs:*": None, "app.services.*": ["*"], "exact:A": ["handle"], "exact:f": [],
                "exact:B": [], "jobs:Mailer": ["handle", "send"], "jobs.nothing": ["*"],
            },
        },
    })  # fmt: skip
    yield d.start()
    d.close()


@covers("config:allow.callables", "error:-32001", "exit:jobctl 4")
def test_without_a_config_nothing_is_allowed(installation):
    d = installation()
    d.config_path.unlink()
    d.write_config({"allow": None})
    d.start()
    for fields in ({"command": ["/bin/true"]}, {"command": ["true"]}, {"target": "jobs:nothing"}):
        assert not may(d, **fields)
    assert d.call("list")["jobs"] == [], "a refused submission makes no job"
    told = d.jobctl("submit", "--", "/bin/true")
    assert told.code == 4
    assert str(d.socket) in told.err
    lines = d.log("background_jobs_errors.log")
    assert sum("Unauthorized job execution attempt" in line for line in lines) == 4


@covers("config:allow.callables")
@pytest.mark.parametrize(
    ("target", "method", "taken"),
    [
        ("exact:A", "handle", True), ("exact:A", "other", False), ("exact:A", None, False),
        ("exact:f", None, True), ("exact:g", None, False), ("exact:f", "__call__", False),
        ("exact:B", "handle", False), ("exact:B", "other", False),
        ("jobs:Mailer", "send", True), ("jobs:Mailer", "_private", False),
        ("jobs:Mailer", "__init__", False), ("jobs:nothing", None, True),
        ("jobs.nothing", None, True),
        ("app.services.deep.inner:Deep", "handle", True), ("app.services.deep.inner:f", None, True),
        ("app.services.deep.inner:Deep", "_no", False), ("app.services.deep.inner:_g", None, False),
        ("app.services._private:f", None, False), ("app.services.__main__:f", None, False),
        ("app.services:f", None, False), ("app.servicesx.y:f", None, False),
        ("__main__:f", None, False),
        ("os:system", None, False), ("builtins:eval", None, False), ("subprocess:run", None, False),
        ("EXACT:f", None, False), ("exact:F", "handle", False), ("exact:ｆ", None, False),
        ("app.services.deep.inner:__class__", None, False),
    ],
)  # fmt: skip
def test_callables_match_by_whole_parts(strict, target, method, taken):
    assert may(strict, target=target, method=method) is taken


@pytest.mark.parametrize(
    "target",
    ["exact:f.__globals__", "exact:A.handle", "exact:f:g", "app.services.deep.inner:os.system",
     "app.services..deep:f", ".exact:f", "exact.:f", "exact:", "../exact:f", "exact\n:f",
     "exact: f"],
)  # fmt: skip
def test_attribute_walks_are_no_target(strict, target):
    assert strict.refusal("submit", target=target).code in (-32602, -32001)


@pytest.mark.parametrize("method", ["a.b", "__class__.__init__", "handle()", "", " handle", "ha\0"])
def test_attribute_walks_are_no_method(strict, method):
    refused = strict.refusal("submit", target="app.services.deep.inner:Deep", method=method)
    assert refused.code in (-32602, -32001)


@pytest.mark.parametrize("name", ["system", "os", "nothing"])
def test_what_a_module_only_imported_is_refused_between_import_and_call(strict, name):
    """`jobs:nothing` is listed exactly, so what comes from there is admitted; the rest is not."""
    done = strict.run(
        target=f"app.services.deep.inner:{name}", args=[] if name == "nothing" else ["x"]
    )
    if name == "nothing":
        assert done["status"] == "completed"
        return
    assert (done["status"], done["failure"]["kind"]) == ("failed", "unauthorized")
    assert any(
        "Unauthorized" in line for line in strict.log_of(done["id"], "background_jobs_errors.log")
    )


def test_an_unauthorized_job_is_not_retried(strict):
    done = strict.final(strict.submit(target="app.services.deep.inner:system", args=["true"]))
    assert (done["failure"]["kind"], done["attempt"]) == ("unauthorized", 1)


def test_a_function_entry_admits_no_class(strict):
    """`exact:B` = [] lists a function; it turns out to be a class."""
    done = strict.run(target="exact:B", method=None)
    assert done["failure"]["kind"] == "unauthorized"


@covers("config:allow.commands")
def test_commands_match_on_the_resolved_file(strict):
    programs = strict.home / "programs"
    for program in (
        programs / "listed", programs / "inside", strict.home / "alias" / "listed",
        strict.home / "link", strict.home / "target", "/bin/echo", "echo",
        programs / "deeper" / ".." / "listed",
    ):  # fmt: skip
        assert may(strict, command=[str(program)]), program
    for program in (
        programs / "deeper" / "below", programs / "escape", programs / ".." / "jobd.toml",
        strict.home / "alias" / ".." / "jobd.toml", "/bin/cat", "cat", "/bin/sh", sys.executable,
        programs / "deeper" / ".." / "escape", "/proc/self/exe",
    ):  # fmt: skip
        assert not may(strict, command=[str(program)]), program


@covers("config:allow.commands")
def test_a_star_alone_allows_any_program(shared):
    assert may(shared, command=["/bin/cat", "x"])


def test_a_link_that_changes_after_the_submission_is_refused_at_the_start(jobd):
    d = jobd()
    link = d.home / "tool"
    link.symlink_to("/bin/true")
    d.write_config({"allow": {"commands": ["/bin/true"]}})
    d.call("reload")
    id = d.submit(command=[str(link)], delay=0.4)
    link.unlink()
    link.symlink_to("/bin/cat")
    done = d.final(id)
    assert (done["failure"]["kind"], done["attempt"]) == ("unauthorized", 0)


def test_the_file_that_was_judged_is_the_file_that_runs(strict):
    """The name as given is argv[0], but what is executed is what was resolved."""
    done = strict.run(command=[str(strict.home / "link")])
    assert done["status"] == "completed"


def test_a_cwd_of_the_submissions_lends_no_program(strict):
    own = strict.scratch().parent
    (own / "cat").write_text("#!/bin/sh\n")
    (own / "cat").chmod(0o755)
    assert not may(strict, command=["cat"], cwd=str(own))
    (own / "echo").write_text("#!/bin/sh\necho hijacked\n")
    (own / "echo").chmod(0o755)
    done = strict.run(command=["echo", "genuine"], cwd=str(own))
    assert strict.out(done["id"]) == "genuine\n"


ENV = [
    "LD_PRELOAD", "LD_AUDIT", "DYLD_INSERT_LIBRARIES", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME",
    "PATH", "BASH_ENV", "ENV", "IFS", "JOBD_SOCKET", "JOBD_JOB_ID", "JOBD_ANYTHING",
]  # fmt: skip


@covers("config:allow.env", "field:env")
@pytest.mark.parametrize("name", ENV)
def test_env_may_not_turn_a_program_into_another(strict, name):
    for fields in ({"command": ["/bin/echo"]}, {"target": "exact:f"}):
        assert not may(strict, **fields, env={name: "x"})


@covers("config:allow.env")
def test_env_may_set_the_harmless_and_what_is_listed(strict):
    for name in ("REPORT_DATE", "LD_LIBRARY_PATH", "MY_PATH", "XLD_PRELOAD"):
        assert may(strict, command=["/bin/echo"], env={name: "x"})


@covers("field:cwd")
def test_neither_cwd_nor_env_changes_what_an_import_finds(strict):
    own = strict.scratch().parent
    for name in ("exact", "json", "sitecustomize", "usercustomize"):
        (own / f"{name}.py").write_text("def f(): return 'hijacked'\nprint('hijacked')\n")
    done = strict.run(
        target="exact:f", cwd=str(own), env={"HOME": str(own), "VIRTUAL_ENV": str(own)}
    )
    assert done["result"] == 3
    assert "hijacked" not in strict.out(done["id"])


def test_the_check_is_made_before_anything_is_imported(strict):
    path = strict.scratch()
    strict.module(f"open({str(path)!r}, 'w')\ndef f(): pass\n", "unlisted")
    assert not may(strict, target="unlisted:f")
    assert not path.exists()


def test_disallowed_while_it_waits_for_a_retry_it_fails(jobd):
    d = jobd()
    id = d.submit(target="jobs:boom", retry_attempts=5, retry_delay=0.5)
    d.until_status(id, "pending_retry")
    d.write_config({"allow": {"callables": {"jobs:*": None, "jobs:nothing": []}}})
    d.call("reload")
    done = d.final(id)
    assert (done["status"], done["failure"]["kind"], done["attempt"]) == (
        "failed",
        "unauthorized",
        1,
    )


def test_after_a_restart_under_a_stricter_config_what_waited_is_refused(jobd):
    d = jobd()
    id = d.submit(command=["/bin/true"], delay=0.3)
    d.kill()
    d.write_config({"allow": {"commands": []}})
    d.start()
    assert d.final(id)["failure"]["kind"] == "unauthorized"
