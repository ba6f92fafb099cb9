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

from jobd.core.ids import STEM_LENGTH, whole
from jobd.core.job import Policy
from jobd.core.records import Cancelled, Submitted
from jobd.journal.store import Store

covers = pytest.mark.covers

HELD_S = 2.5  # at most, once there is room: it is looked for each second
AN_HOUR_S = 3600.0
RESULT_BYTES = 60 * 1024
SOMEBODY_ELSES_BYTES = 8 << 20
STATUSES = ("pending", "running", "pending_retry", "completed", "failed", "cancelled")
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
        d.disk.take(SOMEBODY_ELSES_BYTES)
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

    def fill_up(self):
        """Somebody else takes what is left, and submissions what the journal has set aside.

        Only then might the ready ones be started.
        """
        self.d.disk.fill()
        self.waiting |= submit_until_refused(self.d)
        self.d.call("drain", off=True)
        return self.look_for_held()

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
        assert time.monotonic() - since < HELD_S
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


def test_on_a_full_disk_retention_goes_on(installed, kind):
    d = installed(kind)
    old = cancelled_an_hour_ago(d, 40)
    serve(d)
    stored = submit_until_refused(d)
    d.disk.fill()
    d.write_config({"daemon": d.places, "journal": d.journal, "retention": {"cancelled": "10m"}})
    assert d.call("reload")["changed"] == ["retention.cancelled"]
    until(lambda: d.call("stats")["jobs"]["cancelled"] == 0)
    assert all(d.refusal("status", id=id).code == -32002 for id in old)
    d.kill()
    serve(d)
    assert d.call("stats")["jobs"] == {**dict.fromkeys(STATUSES, 0), "pending": len(stored)}


def test_a_daemon_killed_on_a_full_disk_comes_back_there_and_goes_on_when_there_is_room(full):
    d = full.d
    full.fill_up()
    d.kill()

    serve(d)
    full.look_for_held()
    full.look_for_all()
    assert {id: d.pid_of(id) for id in full.pids} == full.pids
    assert d.refusal("submit", command=["/bin/true"]).code == -32006

    d.disk.free()
    full.see_ready_ones_run()
    later = d.submit(command=["/bin/true"], delay=3600)
    full.waiting[later] = ["/bin/true"]
    full.end_what_runs()

    d.kill()
    serve(d)
    full.look_for_all()


def test_why_nothing_is_started_is_in_the_log_once(installed):
    """The log has a disk of its own; on the full one such a line may be lost."""
    d = installed()
    d.log_dir = d.home / "logs"
    d.places["log_dir"] = str(d.log_dir)
    d.write_config({"daemon": d.places, "journal": d.journal})
    scene = Scene(serve(d))
    since = scene.fill_up()["since"]
    id = scene.ready[0]
    d.call("cancel", id=id)
    assert d.call("stats")["held"]["since"] == since
    d.disk.free()
    scene.ready, scene.traces = scene.ready[1:], scene.traces[1:]
    scene.see_ready_ones_run()
    lines = [line for line in d.log("jobd.log") if "starts_" in line]
    assert ["starts_held" in line for line in lines] == [True, False]
    assert "starts_go_on" in lines[1]


@covers("error:-32006")
def test_compaction_goes_on_while_submissions_keep_the_disk_full(installed, kind):
    """Room that it frees is taken at once, what runs keeps its own, and nothing is lost."""
    scene = Scene(serve(installed(kind)))
    d = scene.d
    first = segments(d)[0]
    goes = [id for n, id in enumerate(scene.waiting) if n % 5]
    for id in goes:
        d.call("cancel", id=id)
        del scene.waiting[id]
    command = ["/bin/true", "x" * 50_000]
    with d.peer() as peer:
        removed = [peer.send("remove", {"id": id}) for id in goes]
        submit = {"command": command, "delay": 3600}
        submitted = [peer.send("submit", submit) for _ in range(400)]
        assert [peer.answer(number) for number in removed] == [{}] * len(goes)
        accepted = refused = 0
        for number in submitted:
            try:
                scene.waiting[peer.answer(number)["id"]] = command
                accepted += 1
            except Refused as why:
                assert why.code == -32006
                refused += 1
    assert accepted, "room that was freed is there for others"
    assert refused, "the disk was to be full"
    assert segments(d)[0] > first
    scene.look_for_all()
    scene.end_what_runs()
    d.kill()
    serve(d)
    scene.look_for_all()


def test_an_attempt_that_lacks_room_never_ran_and_is_started_once_there_is_some(small):
    """There is room for its outcome, and not for its files."""
    path = small.scratch()
    small.call("drain")
    id = small.sh('echo x >>"$1"', str(path))
    small.disk.fill()
    small.disk.leave(4096)
    small.call("drain", off=True)
    held = until(lambda: small.call("stats")["held"])
    assert "No space left" in held["why"]
    document = small.status(id)
    assert (document["status"], document["attempts"]) == ("pending", [])
    assert any(f"no_room id={id}" in line for line in small.log("jobd.log"))
    small.disk.free()
    done = small.final(id)
    assert done["status"] == "completed"
    assert path.read_text() == "x\n"


def test_a_keeper_out_of_descriptors_starts_nothing_until_it_has_some(jobd):
    d, gate = jobd(), None
    gate, path = d.gate(), d.scratch()
    first = d.submit(command=gate.command)
    keeper = d.keeper(first)
    limits = resource.prlimit(keeper.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(keeper.pid, resource.RLIMIT_NOFILE, (keeper.num_fds() + 1, limits[1]))
    id = d.sh('echo x >>"$1"', str(path))
    held = until(lambda: d.call("stats")["held"])
    assert "Too many open files" in held["why"]
    assert d.status(id)["status"] == "pending"
    gate.open()
    assert d.final(first)["status"] == "completed", "its end needs none that is not there"
    resource.prlimit(keeper.pid, resource.RLIMIT_NOFILE, limits)
    assert d.final(id)["status"] == "completed"
    assert path.read_text() == "x\n"


def segments(d):
    return sorted((d.state_dir / "journal").glob("*.jsonl"))


def cancelled_an_hour_ago(d, count):
    """Their ids, in the journal of a daemon that has not been started yet."""
    at = time.time() - AN_HOUR_S
    ids = [whole(f"{number:0{STEM_LENGTH}d}", number) for number in range(1, count + 1)]
    call = json.dumps({"command": ["/bin/true", "x" * 20_000]}).encode()
    told = [
        Submitted(id=id, at=at, by="uid:0", call=call, policy=Policy(), run_at=at) for id in ids
    ] + [Cancelled(id=id, at=at, ended=None) for id in ids]

    async def write():
        store = Store.open(d.state_dir, fsync="always", interval_s=1.0, segment_bytes=1 << 16)
        assert not list(store.recovered)
        for seq, record in enumerate(told, 1):
            await store.append(seq, [record])
        await store.aclose()

    asyncio.run(write())
    return ids


@pytest.mark.parametrize("segment_bytes", ["64KiB", "16MiB"])
def test_what_was_accepted_until_the_disk_was_full_can_run(installed, kind, segment_bytes):
    """Submissions alone never take the room that it takes to start what they brought."""
    d = serve(installed(kind, segment_bytes))
    d.call("drain", timeout=0)
    accepted = 0
    for size in (100_000, 20_000, 2_000, 0):
        try:
            while True:
                d.submit(command=["/bin/true", "x" * size])
                accepted += 1
        except Refused as why:
            assert why.code == -32006
    d.call("drain", off=True)
    until(lambda: d.call("stats")["jobs"]["completed"] == accepted)
