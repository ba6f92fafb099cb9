"""What `[allow] commands` and `env` admit, asked of a real file system."""

from __future__ import annotations

import os

import pytest

from jobd.core.allow import Admitted, AllowList, Refused, command_fault, command_matches, env_fault


def run(*command: object, **more):
    return {"command": [str(part) for part in command], **more}


def admitted(verdict) -> bool:
    return isinstance(verdict, Admitted)


def test_a_listed_program_is_admitted_as_the_file_to_execute(admission, place) -> None:
    tool = place("bin/tool")
    assert admission(tool).judge(run(tool, "-x")) == Admitted(str(tool))


def test_nothing_is_admitted_by_an_empty_list(admission, place) -> None:
    assert not admitted(admission().judge(run(place("bin/tool"))))


def test_star_admits_any_program(admission, place) -> None:
    tool = place("bin/tool")
    assert admission("*").judge(run(tool)) == Admitted(str(tool))
    assert admitted(admission("*").judge(run("/no/such/program")))


def test_links_are_resolved_on_the_side_of_the_submission(admission, place, tmp_path) -> None:
    tool, link = place("bin/tool"), tmp_path / "link"
    link.symlink_to(tool)
    assert admission(tool).judge(run(link)) == Admitted(str(tool))


def test_links_are_resolved_on_the_side_of_the_list(admission, place, tmp_path) -> None:
    tool, link = place("bin/tool"), tmp_path / "link"
    link.symlink_to(tool)
    assert admission(link).judge(run(tool)) == Admitted(str(tool))
    assert admission(link).judge(run(link)) == Admitted(str(tool))


def test_a_link_that_leads_out_of_the_list_is_refused(admission, place, tmp_path) -> None:
    other = place("elsewhere/sh")
    place("bin/tool")
    (tmp_path / "bin/evil").symlink_to(other)
    judge = admission(tmp_path / "bin/*").judge
    assert admitted(judge(run(tmp_path / "bin/tool")))
    assert not admitted(judge(run(tmp_path / "bin/evil")))


def test_a_directory_that_is_a_link_is_resolved_in_a_glob(admission, place, tmp_path) -> None:
    tool = place("usr/bin/tool")
    (tmp_path / "bin").symlink_to("usr/bin")
    judge = admission(tmp_path / "bin/*").judge
    assert judge(run(tmp_path / "bin/tool")) == Admitted(str(tool))
    assert judge(run(tool)) == Admitted(str(tool))


def test_a_link_that_is_turned_afterwards_counts_as_it_now_is(admission, place, tmp_path) -> None:
    old, new, link = place("tool-1"), place("tool-2"), tmp_path / "tool"
    link.symlink_to(old)
    judge = admission(link).judge
    assert admitted(judge(run(old)))
    link.unlink()
    link.symlink_to(new)
    assert judge(run(link)) == Admitted(str(new))
    assert not admitted(judge(run(old)))


def test_a_directory_that_is_turned_afterwards_counts_as_it_now_is(
    admission, place, tmp_path
) -> None:
    old, new = place("v1/tool"), place("v2/tool")
    (tmp_path / "now").symlink_to("v1")
    judge = admission(tmp_path / "now/*").judge
    assert admitted(judge(run(old)))
    (tmp_path / "now").unlink()
    (tmp_path / "now").symlink_to("v2")
    assert not admitted(judge(run(old)))
    assert admitted(judge(run(new)))


@pytest.mark.parametrize(
    "trick",
    ["bin/../elsewhere/sh", "bin/tool/../../elsewhere/sh", "bin//..//elsewhere/sh", "bin",
     "bin/", "bin/sub/tool", "bin/.hidden", "bin/TOOL", "bin/tool ", "bin/tool.", "bin/tool\n",
     "bin/*", "elsewhere/sh", "."],
)  # fmt: skip
def test_no_way_of_writing_a_path_gets_out_of_the_list(
    admission, place, tmp_path, trick: str
) -> None:
    for name in ("bin/tool", "bin/sub/tool", "bin/.hidden", "elsewhere/sh"):
        place(name)
    exact = admission(tmp_path / "bin/tool").judge(run(f"{tmp_path}/{trick}"))
    assert isinstance(exact, Refused)
    by_glob = admission(tmp_path / "bin/t*l").judge(run(f"{tmp_path}/{trick}"))
    assert isinstance(by_glob, Refused)


def test_a_path_that_leads_back_into_the_list_is_the_file_it_leads_to(
    admission, place, tmp_path
) -> None:
    tool = place("bin/tool")
    (tmp_path / "x").mkdir()
    assert admission(tool).judge(run(f"{tmp_path}/x/../bin/tool")) == Admitted(str(tool))


@pytest.mark.parametrize("name", ["", ".", "..", "./tool", "bin/tool", "../tool", "~/tool", "\0",
                                  "to\0ol", "\ud800"])  # fmt: skip
def test_what_is_neither_absolute_nor_a_bare_name_is_refused(
    admission, place, tmp_path, monkeypatch, name: str
) -> None:
    place("tool"), place("bin/tool")
    monkeypatch.chdir(tmp_path)
    assert isinstance(admission("*", path=tmp_path).judge(run(name)), Refused)


def test_a_bare_name_is_looked_up_in_the_configs_path(admission, place, tmp_path) -> None:
    first, second = place("a/tool"), place("b/tool")
    path = f"{tmp_path}/a:{tmp_path}/b"
    assert admission(first, path=path).judge(run("tool")) == Admitted(str(first))
    # What comes first is what runs: another one further on doesn't make it another program.
    assert not admitted(admission(second, path=path).judge(run("tool")))


def test_a_bare_name_passes_over_what_can_not_be_executed(admission, place, tmp_path) -> None:
    place("a/tool").chmod(0o644)
    (tmp_path / "b/tool").mkdir(parents=True)
    last = place("c/tool")
    path = f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/c"
    assert admission("*", path=path).judge(run("tool")) == Admitted(str(last))


def test_path_never_means_the_current_directory(admission, place, tmp_path, monkeypatch) -> None:
    evil = place("tool")
    monkeypatch.chdir(tmp_path)
    for path in ("", ":", ".", "::/nowhere", "bin"):
        verdict = admission("*", path=path).judge(run("tool"))
        assert verdict != Admitted(str(evil))
        assert not isinstance(verdict, Admitted) or os.path.isabs(verdict.program)


def test_neither_the_daemons_path_nor_the_jobs_counts(
    admission, place, tmp_path, monkeypatch
) -> None:
    place("evil/tool")
    monkeypatch.setenv("PATH", f"{tmp_path}/evil")
    judge = admission(tmp_path / "evil/tool", path=tmp_path / "good").judge
    assert not admitted(judge(run("tool")))
    assert not admitted(judge(run("tool", env={"PATH": f"{tmp_path}/evil"})))


def test_a_listed_program_that_is_missing_may_fail_by_itself(admission, tmp_path) -> None:
    """Its start then tells of the missing file, which is more than a refusal would."""
    missing = tmp_path / "bin/tool"
    path = f"{tmp_path}/other:{tmp_path}/bin"
    assert admission(missing).judge(run(missing)) == Admitted(str(missing))
    assert admission(missing, path=path).judge(run("tool")) == Admitted(str(missing))
    assert admitted(admission("*", path=path).judge(run("tool")))
    assert not admitted(admission(missing, path=path).judge(run("toolx")))


def test_a_listed_program_that_is_no_program_may_fail_by_itself(admission, place, tmp_path) -> None:
    text = place("bin/text")
    text.chmod(0o644)
    path = f"{tmp_path}/other:{tmp_path}/bin"
    assert admission("*", path=path).judge(run("text")) == Admitted(str(text))


def test_a_refusal_says_where_the_name_led(admission, place, tmp_path) -> None:
    tool, link = place("bin/tool"), tmp_path / "link"
    link.symlink_to(tool)
    assert str(tool) in admission().judge(run(link)).why
    assert str(tool) in admission(path=tmp_path / "bin").judge(run("tool")).why


def test_links_that_go_round_in_circles_are_refused(admission, tmp_path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert not admitted(admission("/bin/*").judge(run(tmp_path / "a")))


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/opt/bin/*", "/opt/bin/x", True),
        ("/opt/bin/*", "/opt/bin/x/y", False),
        ("/opt/bin/*", "/opt/bin", False),
        ("/opt/bin/*", "/opt/bin/.x", False),
        ("/opt/bin/.*", "/opt/bin/.x", True),
        ("/opt/*/bin/run", "/opt/a/bin/run", True),
        ("/opt/*/bin/run", "/opt/a/b/bin/run", False),
        ("/opt/*/bin/run", "/opt/bin/run", False),
        ("/usr/bin/python3.*", "/usr/bin/python3.11", True),
        ("/usr/bin/python3.*", "/usr/bin/python3x11", False),
        ("/a/*b*c", "/a/xbyc", True),
        ("/a/*b*c", "/a/xbyd", False),
        ("/a/[xy]", "/a/x", False),
        ("/a/[xy]", "/a/[xy]", True),
        ("/a/?", "/a/x", False),
        ("/a/*", "/a/x\ny", True),
        ("*", "/anything/at/all", True),
    ],
)
def test_a_star_stays_within_one_directory(pattern: str, path: str, matches: bool) -> None:
    assert command_matches(pattern, path) is matches


@pytest.mark.parametrize("pattern", ["rsync", "bin/x", "./x", "", "~/x", "/a/../b", "/a/**", "/a\0",
                                     "**", "*/x"])  # fmt: skip
def test_a_pattern_that_is_no_absolute_path_is_a_fault(pattern: str) -> None:
    assert command_fault(pattern) is not None


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "LD_", "DYLD_INSERT_LIBRARIES", "PYTHONPATH",
     "PYTHONSTARTUP", "PYTHONHOME", "PYTHON", "PATH", "BASH_ENV", "ENV", "IFS", "JOBD_SOCKET",
     "JOBD_JOB_ID", "JOBD_", "GCONV_PATH", "GLIBC_TUNABLES", "BASH_FUNC_ls%%", "SHELLOPTS", "PS4",
     "PERL5OPT", "RUBYOPT", "NODE_OPTIONS"],
)  # fmt: skip
@pytest.mark.parametrize(
    "call", [{"command": ["/bin/true"]}, {"target": "app:run", "method": None}]
)
def test_an_environment_that_turns_a_program_into_another_is_refused(
    admission, name: str, call: dict
) -> None:
    listed = {"app:run": []}
    with_it = {**call, "env": {"HARMLESS": "1", name: "x"}}
    verdict = admission("*", callables=listed).judge(with_it)
    assert isinstance(verdict, Refused)
    assert name in verdict.why
    assert admitted(admission("*", callables=listed, env=[name]).judge(with_it))


@pytest.mark.parametrize("name", ["REPORT_DATE", "LANG", "path", "OLD_PATH", "MYPYTHONPATH", "ENVS",
                                  "LDFLAGS", "HOME"])  # fmt: skip
def test_a_harmless_environment_needs_no_mention(admission, name: str) -> None:
    assert admitted(admission("*").judge(run("/bin/true", env={name: "x"})))


def test_naming_one_variable_admits_no_other(admission) -> None:
    judge = admission("*", env=["LD_LIBRARY_PATH"]).judge
    assert not admitted(judge(run("/bin/true", env={"LD_PRELOAD": "x"})))
    assert not admitted(judge(run("/bin/true", env={"LD_LIBRARY_PATH": "x", "LD_PRELOAD": "x"})))


@pytest.mark.parametrize("name", ["", "A=B", "A\0", "LD_*", "*"])
def test_an_env_entry_that_is_no_name_is_a_fault(name: str) -> None:
    assert env_fault(name) is not None


def test_a_command_list_says_nothing_about_callables(admission) -> None:
    assert not admitted(admission("*").judge({"target": "os:system", "method": None}))


def test_a_callable_list_says_nothing_about_commands(admission) -> None:
    assert not admitted(admission(callables={"os:*": ["*"]}).judge(run("/bin/sh")))


def test_the_list_keeps_its_patterns_for_the_child() -> None:
    assert AllowList({"a.b.C": [], "a.c.*": ["*"]}).patterns == ("a.b:C", "a.c.*")
