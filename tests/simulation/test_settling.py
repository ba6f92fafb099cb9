"""The one piece of settling that the simulated host can't stand for: files that a power cut took.

A claim is not synced.  After a power cut it may be gone although the attempt ran, so that on
another boot its absence means nothing.
"""

import sys
import threading

import pytest

if sys.platform == "win32":
    pytest.skip("the keeper of this platform is another one", allow_module_level=True)

from jobd.keeper.tree import Marker
from jobd.supervisor.settling import Orphan, settle


def settled(*orphans):
    told = {}
    settle(orphans, told.__setitem__, threading.Event())
    return told


@pytest.mark.parametrize("left", [[], ["claim"], ["claim", "outcome.part"]], ids=str)
def test_an_attempt_of_an_earlier_boot_was_interrupted_whatever_the_disk_kept_of_it(tmp_path, left):
    for name in left:
        (tmp_path / name).touch()
    orphan = Orphan(Marker("", "0" * 16, 1), str(tmp_path), this_boot=False)
    [ending] = settled(orphan).values()
    assert ending is not None, "it may well have run"
    assert ending.kind == "interrupted"


def test_an_attempt_of_this_boot_without_a_claim_never_ran_and_never_will(tmp_path):
    orphan = Orphan(Marker("", "0" * 16, 1), str(tmp_path), this_boot=True)
    assert settled(orphan) == {orphan: None}
    assert (tmp_path / "claim").exists()
