"""Control groups by themselves: made, entered, ended, removed."""

import os
import subprocess

import pytest

from jobd.keeper import cgroup, limits, protocol

STATE = f"/tests-{os.getpid()}"
pytestmark = pytest.mark.skipif(
    cgroup.find(STATE) is None, reason="no control groups may be made here"
)


@pytest.fixture
def groups():
    groups = cgroup.find(STATE)
    yield groups
    groups.close()
    assert not os.path.exists(groups.home)


def born_in(group, *argv):
    with group.entered():
        return subprocess.Popen(argv, stdout=subprocess.DEVNULL)


def test_what_is_started_inside_is_a_member_and_the_starter_is_not(groups):
    group = groups.make("a-1")
    one = born_in(group, "sleep", "600")
    assert group.pids() == [one.pid]
    assert cgroup.attempt_in(one.pid, cgroup.home_name(STATE)) == "a-1"
    assert cgroup.attempt_in(os.getpid(), cgroup.home_name(STATE)) is None
    assert group.kill()
    assert one.wait() == -9
    assert not group.populated
    groups.discard("a-1")
    assert not os.path.exists(group.path)


def test_one_that_a_job_has_made_below_counts_and_goes_with_it(groups):
    group = groups.make("b-1")
    below = f"{group.path}/own"
    script = f"mkdir {below}; echo 0 > {below}/cgroup.procs; echo there; exec sleep 600"
    with group.entered():
        one = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
    assert one.stdout.readline() == b"there\n"
    one.stdout.close()
    assert group.populated
    assert group.pids() == [one.pid]
    group.kill()
    one.wait()
    groups.discard("b-1")
    assert not os.path.exists(group.path)


def test_one_in_which_somebody_lives_is_removed_when_he_is_gone(groups):
    one = born_in(groups.make("c-1"), "sleep", "600")
    groups.discard("c-1")
    assert os.path.exists(f"{groups.home}/c-1")
    one.kill()
    one.wait()
    groups.discard_left()
    assert not os.path.exists(f"{groups.home}/c-1")


def test_however_many_are_lived_in_few_are_looked_at_each_time(groups, monkeypatch):
    living = [born_in(groups.make(f"c-{n}"), "sleep", "600") for n in range(12)]
    for n in range(12):
        groups.discard(f"c-{n}")
    tried = []
    remove = cgroup.Group.remove
    monkeypatch.setattr(cgroup.Group, "remove", lambda g: tried.append(g.path) or remove(g))
    groups.make("d-1")
    groups.discard("d-1")
    assert not os.path.exists(f"{groups.home}/d-1")
    groups.discard_left()
    groups.discard_left()
    groups.discard_left()
    assert len(tried) <= 4 * cgroup.LEFT_A_TIME
    assert len(set(tried)) == 13  # each has its turn
    for one in living:
        one.kill()
        one.wait()


def test_what_a_dead_keeper_left_is_swept_but_not_who_lives_there(groups):
    groups.make("d-1")
    one = born_in(groups.make("d-2"), "sleep", "600")
    another = cgroup.find(STATE)
    assert [e.name for e in os.scandir(groups.home) if e.is_dir()] == ["d-2"]
    one.kill()
    one.wait()
    another.sweep()
    assert not [e for e in os.scandir(groups.home) if e.is_dir()]


def test_a_keeper_that_could_not_leave_a_group_does_not_end_itself(groups):
    group = groups.make("e-1")
    with open(f"{group.path}/cgroup.procs", "w") as file:
        file.write("0")
    try:
        assert not group.kill()
        assert group.pids() == []
        assert not group.populated
    finally:
        with groups.make("e-2").entered():
            pass


def test_a_group_that_the_keeper_could_not_leave_gets_no_limits(groups):
    group = groups.make("g-1")
    group.keeps = frozenset({"memory", "processes"})
    with group.entered():
        group.limit({"memory": 1 << 20, "processes": 1})
    assert group.keeps == frozenset()  # so the job is measured
    assert not os.path.exists(f"{group.path}/pids.max") or b"max" in _read(f"{group.path}/pids.max")


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def test_processor_time_is_of_all_that_ever_was_in_it(groups):
    group = groups.make("f-1")
    burn = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
    born_in(group, "sh", "-c", f"({burn}); ({burn})").wait()
    assert 0 < group.cpu_s() < 60
    meter = limits.Meter({"cpu_time": 0.001}, group)
    assert not meter.looks  # at processes
    assert meter.exceeded((), 0) == "cpu_time"
    assert limits.Meter({"cpu_time": 0.001, "processes": 9}, group).looks == (not group.keeps)
    groups.discard("f-1")


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv(protocol.CGROUPS, "off")
    assert cgroup.find(STATE) is None
