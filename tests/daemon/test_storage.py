"""A full disk: new jobs are refused, what runs goes on, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import json
import resource
import time

import pytest
from outside.jobs import JOBS
from outside.peer import Refused
from outside.waiting import until
from small_disk import SmallDisk

from jobd.core.job import Policy
from jobd.core.records import Cancelled, Submitted
from jobd.journal.store import Store

covers = pytest.mark.covers

HELD_WITHIN_S = 2.5  # a probe is made each second
AN_HOUR_S = 3600.0
RESULT_BYTES = 60 * 1024
HOLD = """
def hold(path, size):
    open(path).close()
    return "x" * size
"""


@pytest.fixture
def installed(installation):
    """Makes daemons, not started, that have state and logs on a file system of 24 MiB."""
    disks = []

    def make(kind="tmpfs", segment_bytes="64KiB"):
        d = installation()
        d.module(JOBS + HOLD)
        d.disk = SmallDisk(d.home / "disk", kind)
        disks.append(d.disk)
        d.places = {"state_dir": str(d.disk.path / "state"), "log_dir": str(d.disk.path / "logs")}
        d.journal = {"segment_bytes": segment_bytes}
        d.write_config({"daemon": d.places, "journal": d.journal})
        d.state_dir, d.log_dir = d.disk.seen / "state", d.disk.seen / "logs"
        return d

    yield make
    for disk in disks:
        disk.close()


@pytest.fixture
def small(installed):
    return serve(installed())


def serve(d):
    d.spawn(under=d.disk.under)
    until(d._serves_or_ended)
    assert d.process.poll() is None, d.stderr
    return d


def submit_until_refused(d):
    """Not even the smallest is accepted any more; each that was, and its command."""
    stored = {}
    for size in (200_000, 20_000, 2_000, 0):
        command = ["/bin/true", "x" * size]
        try:
            while True:
                stored[d.submit(command=command, delay=3600)] = command
        except Refused as why:
            assert (why.code, why.data["type"]) == (-32006, "storage")
    return stored


class Scene:
    """On a disk that submissions have filled: jobs that ended, run, are ready, and wait."""

    def __init__(self, d):
        self.d = d
        self.ended = [d.run(command=["/bin/sh", "-c", f"echo {n}; exit {n}"]) for n in range(3)]
        gates = [d.gate() for _ in range(4)]
        self.gates = gates
        self.commands = [d.sh('cat "$1"; exit 7', str(gate.path)) for gate in gates[1:]]
        kwargs = {"path": str(gates[0].path), "size": RESULT_BYTES}
        self.callable = d.submit(target="jobs:hold", kwargs=kwargs)
        self.pids = {id: d.pid_of(id) for id in (*self.commands, self.callable)}
        d.call("drain", timeout=0)
        self.traces = [d.scratch() for _ in range(2)]
        self.ready = [d.sh('echo x >>"$1"', str(path)) for path in self.traces]
        self.waiting = submit_until_refused(d)
        d.call("drain", off=True)

    def end_what_runs(self):
        """And look at how it is told."""
        for gate in self.gates:
            gate.open()
        for id in self.commands:
            document = self.d.final(id)
            assert (document["status"], document["attempt"]) == ("failed", 1)
            assert document["failure"]["exit_code"] == 7
            self.ended.append(document)
        document = self.d.final(self.callable)
        assert (document["status"], document["attempt"]) == ("completed", 1)
        assert document["result"] == "x" * RESULT_BYTES
        self.ended.append(document)

    def look_for_all(self):
        """Nothing that was acknowledged is missing."""
        for id, command in self.waiting.items():
            document = self.d.status(id)
            assert (document["status"], document["command"]) == ("pending", command)
        assert [self.d.status(document["id"]) for document in self.ended] == self.ended

    def look_for_held(self):
        """There is no room to start one more."""
        held = until(lambda: self.d.call("stats")["held"])
        assert held["why"] == "no room on the journal's file system for another end"
        for id in self.ready:
            document = self.d.status(id)
            assert (document["status"], document["attempt"]) == ("pending", 0)
        return held

    def see_ready_ones_run(self):
        """Once, soon after there is room."""
        since = time.monotonic()
        for id in self.ready:
            self.d.until_status(id, "running", "completed")
        assert time.monotonic() - since < HELD_WITHIN_S
        for id, path in zip(self.ready, self.traces, strict=True):
            document = self.d.final(id)
            assert document["status"] == "completed"
            assert path.read_text() == "x\n"
            self.ended.append(document)
        assert self.d.call("stats")["held"] is None


@pytest.fixture(params=["tmpfs", "ext4"])
def kind(request):
    return request.param


@pytest.fixture(params=["64KiB", "16MiB"])
def full(request, installed, kind):
    """Filled by submissions."""
    return Scene(serve(installed(kind, request.param)))


@pytest.fixture(params=["by submissions", "to the last byte"])
def fuller(request, full):
    """Perhaps also by somebody else."""
    if request.param == "to the last byte":
        full.d.disk.fill()
    return full


@covers("error:-32006", "exit:jobctl 7")
def test_without_room_a_submission_is_refused_and_nothing_acknowledged(small):
    kept = small.submit(command=["/bin/true"], delay=3600)
    small.disk.fill()
    stored = submit_until_refused(small)
    pending = small.call("stats")["jobs"]["pending"]
    assert pending == len(stored) + 1
    assert small.jobctl("submit", "--", "/bin/true", "x" * 100_000).code == 7
    assert small.call("stats")["jobs"]["pending"] == pending
    small.disk.free()
    assert small.status(kept)["status"] == "pending"
    assert small.submit(command=["/bin/true"], delay=3600)


@covers("error:-32006")
def test_on_a_full_disk_running_jobs_go_on_and_their_outcomes_are_kept(fuller):
    d = fuller.d
    fuller.end_what_runs()
    fuller.look_for_all()
    d.disk.fill()
    d.kill()
    serve(d)
    fuller.look_for_all()


def test_on_a_full_disk_jobs_can_be_cancelled_and_removed(fuller):
    d = fuller.d
    for id in list(fuller.waiting)[::2]:
        del fuller.waiting[id]
        assert d.call("cancel", id=id)["status"] == "cancelled"
        d.call("remove", id=id)
        assert d.refusal("status", id=id).code == -32002
    for document in fuller.ended:
        d.call("remove", id=document["id"])
        assert d.refusal("status", id=document["id"]).code == -32002
    fuller.ended.clear()
    fuller.look_for_all()
    fuller.end_what_runs()


def test_on_a_full_disk_nothing_is_started_until_there_is_room(fuller):
    d = fuller.d
    fuller.look_for_held()
    told = d.stderr
    assert "starts_held why=" in told
    fuller.end_what_runs()
    d.disk.free_or_nothing()
    fuller.see_ready_ones_run()
    fuller.look_for_all()
