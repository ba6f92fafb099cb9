"""What this host can keep of a job's limits."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from jobd import host
from jobd.core.job import Limits

# In a process of its own, which gives up its rights first.
ASK = """
import os, resource, sys
from jobd import host
own = os.getpriority(os.PRIO_PROCESS, 0)
try:
    resource.setrlimit(resource.RLIMIT_NICE, (int(sys.argv[2]),) * 2)
except ValueError:
    sys.exit("this user can't have that right")
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
print(host.limit_fault("nice", int(sys.argv[1])))
assert os.getpriority(os.PRIO_PROCESS, 0) == own
"""


def without_rights(nice: int, rlimit: int) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", ASK, str(nice), str(rlimit)], capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    if "can't have that right" in ran.stderr:
        pytest.skip(ran.stderr)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_who_has_no_right_to_more_of_the_machine_can_not_give_it_to_a_job() -> None:
    assert "RLIMIT_NICE" in without_rights(-5, 0)
    assert without_rights(0, 0) == "None"
    assert without_rights(5, 0) == "None"


def test_a_right_that_was_given_is_heeded_up_to_where_it_goes() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    to_five_less = 20 - (own - 5)
    assert without_rights(-5, to_five_less) == "None"
    assert "RLIMIT_NICE" in without_rights(-6, to_five_less)


def test_no_more_files_can_be_open_than_the_hard_limit_says() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert host.limit_fault("open_files", hard) is None
    assert f"at most {hard}" in host.limit_fault("open_files", hard + 1)


def test_all_limits_that_can_not_be_kept_are_told_and_no_others() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    told = host.limit_faults(Limits(open_files=hard + 1, nice=1, processes=5))
    assert [name for name, _ in told] == ["open_files"]
    assert host.limit_faults(Limits()) == ()


@pytest.mark.skipif(sys.platform != "linux", reason="of the tree is known what /proc says")
@pytest.mark.parametrize("name", ["memory", "cpu_time", "processes"])
def test_limits_of_the_whole_tree_are_kept_where_it_can_be_looked_at(name: str) -> None:
    assert host.limit_fault(name, 1 << 20) is None


@pytest.mark.parametrize("name", ["memory", "cpu_time", "processes", "open_files", "nice"])
def test_without_a_limit_s_means_it_is_refused(monkeypatch, name: str) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    assert "can't be kept" in host.limit_fault(name, 20)
