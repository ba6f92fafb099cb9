"""A real daemon's system calls, and every disk that a kill or a power cut could have made of them.

The recording is of three lives (see `recorded/`).  At each of its calls that touches the journal,
each state that a crash could leave there is recovered by the real store, goes on with a commit,
and is recovered again.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from outside.installation import Installation
from outside.jobs import JOBS
from recorded.disk import Disk
from recorded.harm import flips, lost_pages, seq_before
from recorded.lives import HALF
from recorded.proof import Proof
from recorded.recording import SEGMENT_BYTES, record
from recorded.revival import Memory, Revived

covers = pytest.mark.covers
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    d = Installation({"journal": {"segment_bytes": SEGMENT_BYTES}})
    d.module(JOBS)
    try:
        yield record(d, tmp_path_factory.mktemp("recorded") / "trace")
    finally:
        d.close()


@pytest.fixture
def proof(recording):
    """Makes one: of this recording, with files of its own kind."""
    made = []
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    # Each torn end is told; here there are thousands.
    logging.getLogger("jobd.journal.store").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="jobd-", dir=memory) as place:

        def make(files=None):
            made.append(Proof(recording, Path(place, str(len(made))), files))
            return made[-1]

        yield make
        for each in made:
            each.revival.close()
    logging.getLogger("jobd.journal.store").setLevel(logging.NOTSET)


def test_the_recording_is_the_truth_and_has_in_it_what_the_proof_is_about(recording, proof):
    account = proof().account
    disk = Disk(recording.home)
    for event in recording.events:
        disk.feed(event)
    prefix = "state/journal/"
    there = {n.removeprefix(prefix): c for n, c in disk.whole() if n.startswith(prefix)}
    assert there == recording.files, "every call was understood"
    assert not any(HALF in content for content in there.values()), "what was torn was cut off"

    calls = [event.call for event in recording.events if event.what == "begin"]
    named = [call for call in calls if call.name in ("openat", "unlink")]
    segments = [call for call in named if call.paths[0].endswith(".jsonl")]
    created = [call for call in segments if call.name == "openat" and "O_EXCL" in call.text]
    dropped = [call for call in segments if call.name == "unlink"]
    assert len(created) >= 5
    assert len(dropped) >= 2, "by compaction, and what the third life found half made"
    kinds = Counter(record["type"] for commit in account.commits for record in commit.records)
    assert {"submitted", "started", "completed", "retried", "failed", "cancelled"} <= set(kinds)
    assert {"removed", "kept", "stop_requested", "kill_requested"} <= set(kinds)
    assert len(account.commits) >= 100
    assert any(len(commit.records) >= 5 for commit in account.commits)
    told = Counter(fact.what for _, fact in account.told)
    assert min(told[what] for what in ("submitted", "started", "ended", "removed")) >= 20
    assert account.known_seq()[max(account.known_seq())] >= account.written_seq - 2


@covers("config:journal.fsync")
def test_whatever_a_crash_leaves_starts_again_with_all_that_was_told(recording, proof):
    one = proof()
    faults = list(itertools.islice(one.faults(Disk(recording.home)), 5))
    assert not faults, "\n".join(faults)
    print(f"{len(one.revival)} distinct states; tried at all points: {dict(one.tried)}")
    assert len(one.revival) > 1000
    assert min(one.tried.values()) > 100


def test_synced_bytes_that_are_harmed_are_refused_unless_they_could_be_a_torn_end(recording, proof):
    one = proof()
    dice = random.Random(7)
    points = one.points(Disk(recording.home))
    settled = {p.written_seq: p.disk.safe() for p in points if p.disk.settled()}
    became = Counter()
    for seq in [*dice.sample(sorted(settled)[1:-1], 15), max(settled)]:
        image = settled[seq]
        for harm in (*flips(image, 20, dice), *lost_pages(image)):
            found = one.revival.of(harm.image)
            assert found.broken is None, (harm, found.broken)
            if found.damaged is not None:
                became[harm.how, "refused"] += 1
                continue
            # Nothing whole is behind it: so does a write look that nobody was told of.
            as_torn = seq_before(image, harm)
            assert found.seq == (seq if as_torn is None else as_torn), harm
            assert found.jobs is one.folds[found.seq]
            became[harm.how, "unharmed" if found.seq == seq else "taken for torn"] += 1
    print(dict(became))
    assert became["flip", "refused"] > 200
    assert became["page", "refused"] > 50
    assert became["flip", "taken for torn"] >= 20, "those that were aimed at the last line"


# The proof itself: with any of what it is about taken away, it fails.


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_a_disk_that_does_not_sync_is_found_out(recording, proof, call):
    faults = proof().faults(
        Disk(recording.home, deaf=call), lambda state: state.how == "nothing unsynced survives"
    )
    assert "were told, and are lost" in next(faults)


def test_an_answer_before_the_sync_is_found_out(recording, proof):
    one = proof()
    faults = one.faults(
        Disk(recording.home), lambda state: state.how == "nothing unsynced survives", hasty=True
    )
    assert len(list(itertools.islice(faults, 50))) == 50, "each commit, before its sync"


def test_a_recovery_that_leaves_the_torn_end_is_found_out(recording, proof):
    class Uncut(Memory):
        def truncate(self, fd, size_bytes):
            pass

    faults = proof(Uncut()).faults(Disk(recording.home), lambda state: state.how == "a write stops")
    assert "after one more commit" in next(faults)


def test_a_recovery_that_forgets_the_last_commit_is_found_out(recording, proof):
    """As one would that takes a whole end for torn."""
    one = proof()
    *_, last = one.points(Disk(recording.home))
    found = one.revival.of(last.disk.safe())
    assert one.fault(last, found) is None
    assert "were told, and are lost" in one.fault(last, Revived(last.known_seq - 1))
