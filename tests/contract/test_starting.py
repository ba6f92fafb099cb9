"""How a job starts: input, descriptors, signals, environment, session."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

covers = pytest.mark.covers

LOOK = r"""
import json, os, signal, sys
fds = sorted(int(n) for n in os.listdir("/proc/self/fd"))
fds = [n for n in fds if os.path.lexists(f"/proc/self/fd/{n}")]  # not the listing's own
print(json.dumps({
    "fds": fds, "stdin": os.readlink("/proc/self/fd/0"),
    "out": [os.readlink(f"/proc/self/fd/{n}") for n in (1, 2)],
    "sid": os.getsid(0), "pgid": os.getpgid(0), "pid": os.getpid(),
    "env": dict(os.environ), "cwd": os.getcwd(), "umask": os.umask(0o22),
}))
"""


@pytest.fixture
def look(shared):
    def run(**fields):
        # -S -E: no site; Python itself ignores SIGPIPE and SIGXFSZ, so the shell looks for that.
        done = shared.run(command=[sys.executable, "-ISE", "-c", LOOK], **fields)
        assert done["status"] == "completed", done
        return json.loads(shared.out(done["id"])), done

    return run


def test_its_input_is_dev_null_and_it_has_descriptors_0_1_2_only(look):
    seen, done = look()
    assert seen["fds"] == [0, 1, 2]
    assert seen["stdin"] == "/dev/null"
    assert all(done["id"] in path for path in seen["out"])


def test_reading_its_input_gives_nothing(shared):
    done = shared.run(command=["/bin/cat"])
    assert done["status"] == "completed"
    assert shared.out(done["id"]) == ""


def test_no_signal_is_blocked_nor_ignored(shared):
    done = shared.run(command=["/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"])
    values = re.findall(r":\s*([0-9a-f]+)", shared.out(done["id"]))
    assert [int(value, 16) for value in values] == [0, 0]


def test_it_has_a_session_of_its_own(look):
    seen, done = look()
    assert seen["sid"] == seen["pid"] == seen["pgid"] == done["attempts"][0]["pid"]


@covers("config:env.pass")
def test_of_the_daemons_environment_only_what_the_config_passes_arrives(jobd, installation):
    d = installation({"env": {"pass": ["KEPT", "ABSENT"], "set": {"SET": "by config"}}})
    d.start(env={"KEPT": "kept", "SECRET": "hidden", "SET": "by daemon"})
    done = d.run(command=["/usr/bin/env"], env={"MINE": "by job"})
    env = dict(line.split("=", 1) for line in d.out(done["id"]).splitlines())
    assert env.pop("PATH")
    assert env.pop("JOBD_JOB_ID") == done["id"]
    assert env.pop("JOBD_ATTEMPT") == "1"
    assert env.pop("JOBD_SOCKET") == str(d.socket)
    env = {name: value for name, value in env.items() if not name.startswith("JOBD_")}
    assert env == {"KEPT": "kept", "SET": "by config", "MINE": "by job"}


def test_of_jobds_own_variables_a_job_gets_three(shared):
    done = shared.run(command=["/usr/bin/env"])
    names = {line.split("=", 1)[0] for line in shared.out(done["id"]).splitlines()}
    own = {name for name in names if name.startswith("JOBD_")}
    assert own == {"JOBD_JOB_ID", "JOBD_ATTEMPT", "JOBD_SOCKET"}


@covers("field:env", "config:env.set")
def test_what_a_submission_sets_goes_before_what_the_config_sets(jobd):
    d = jobd({"env": {"set": {"A": "config", "B": "config"}}})
    done = d.run(command=["/usr/bin/env"], env={"A": "job"})
    lines = d.out(done["id"]).splitlines()
    assert "A=job" in lines
    assert "B=config" in lines


def test_the_attempt_is_told_in_the_environment(shared):
    id = shared.sh('echo "$JOBD_JOB_ID $JOBD_ATTEMPT"; exit 1', retry_attempts=1, retry_delay=0)
    shared.final(id)
    assert [shared.out(id, attempt=n) for n in (1, 2)] == [f"{id} 1\n", f"{id} 2\n"]


@covers("config:env.pass")
def test_without_a_table_the_locale_passes_and_secrets_do_not(installation):
    d = installation()
    d.start(env={"TZ": "Asia/Tokyo", "LANG": "C.UTF-8", "AWS_SECRET_ACCESS_KEY": "x"})
    done = d.run(command=["/usr/bin/env"])
    lines = d.out(done["id"]).splitlines()
    assert "TZ=Asia/Tokyo" in lines
    assert "LANG=C.UTF-8" in lines
    assert not any(line.startswith(("AWS_", "PYTHONPATH")) for line in lines)


@covers("config:python.path", "config:python.executable", "config:python.env", "config:python.cwd")
def test_callables_run_in_the_configs_interpreter_path_directory_and_environment(installation):
    d = installation()
    other, cwd = d.home / "other", d.home / "cwd"
    other.mkdir()
    cwd.mkdir()
    (other / "elsewhere.py").write_text("import jobs\nfacts = jobs.facts\n")
    python = d.home / "python"
    python.symlink_to(sys.executable)
    d.write_config({
        "python": {
            "path": [str(other), str(d.app)], "executable": sys.executable, "cwd": str(cwd),
            "env": {"FOR": "callables"},
        },
        "allow": {"callables": {"elsewhere:facts": [], "jobs:*": ["*"]}},
    })  # fmt: skip
    d.start()
    done = d.run(target="elsewhere:facts")
    facts = done["result"]
    assert facts["path"][:2] == [str(other), str(d.app)]
    assert facts["executable"] == sys.executable
    assert facts["cwd"] == str(cwd)
    assert facts["env"]["FOR"] == "callables"
    of_command = d.run(command=["/usr/bin/env"])
    assert "FOR=callables" not in d.out(of_command["id"])


@covers("config:python.start", "config:python.preload")
def test_callables_start_by_fork_or_exec_and_only_a_fork_has_something_preloaded(installation):
    d = installation({"python": {"start": "exec"}})
    assert d.start().run(target="jobs:nothing")["status"] == "completed"
    d.write_config({"python": {"start": "fork", "preload": ["jobs"]}})
    assert d.call("reload")["changed"] == ["python.preload", "python.start"]
    assert d.run(target="jobs:nothing")["status"] == "completed"
    d.write_config({"python": {"start": "exec", "preload": ["jobs"]}})
    refused = d.refusal("reload")
    assert refused.code == -32602
    assert refused.fields == {"python.preload"}
    assert "fork" in refused.data["fields"][0]["message"]


def test_a_callable_needs_no_jobd_in_its_interpreter(installation):
    """-I of the child leaves it without this checkout; an interpreter without site shows it."""
    d = installation()
    wrapper = d.home / "bare-python"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    wrapper.chmod(0o755)
    d.write_config({"python": {"executable": str(wrapper)}})
    d.start()
    d.module("import sys\ndef f():\n    from jobd import current_job\n"
             "    found = any('site-packages' in p for p in sys.path)\n"
             "    return [current_job.id, found]\n")  # fmt: skip
    done = d.run(target="jobs:f")
    assert done["result"] == [done["id"], False]


def test_output_files_are_for_their_owner_only(shared):
    done = shared.final(shared.sh("echo x"))
    found = [path for path in (shared.log_dir / "output").rglob("*") if done["id"] in str(path)]
    assert any(path.is_file() for path in found)
    for path in (shared.log_dir / "output", *found):
        assert os.stat(path).st_mode & 0o077 == 0, path
