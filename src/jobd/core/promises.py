"""What jobs may still add to the journal, so that room for it can be set aside beforehand.

Bytes of JSON, each figure with the frame of a commit that holds nothing else.  They bound what
`journal.forms` writes, which `tests/journal/test_promises.py` holds against the largest records.
"""

from __future__ import annotations

from typing import Final

from jobd.core.job import Policy

# Beside its call, and the long parts of its policy; with what waiting and being removed takes.
SUBMITTED_BYTES: Final = 1024
WAITING_BYTES: Final = 128  # of a job that waits: a cancel
REMOVAL_BYTES: Final = 128  # of every job: being forgotten
RETRY_BYTES: Final = 512  # to be run again: the wish, and what waiting takes
# Of one that starts, or is refused then: the record, and what running takes.
START_BYTES: Final = 2048
# Of one that runs: two stops and a kill, then an end with the largest result (64 KiB) or failure:
# message and traceback (17 KiB, each character escaped to two bytes) are told twice.
RUNNING_BYTES: Final = 72 * 1024
# Of the file system, that much is left to what needs it more: a submission leaves it to starts,
# and a start to attempts' files, outputs and logs.  What was promised leaves nothing.
SUBMISSION_LEAVES_BYTES: Final = 4 << 20
START_LEAVES_BYTES: Final = 1 << 20


def promised_bytes(*, jobs: int, waiting: int, running: int) -> int:
    """What so many jobs may add by themselves, whatever becomes of them."""
    return jobs * REMOVAL_BYTES + waiting * WAITING_BYTES + running * RUNNING_BYTES


def submission_bytes(call: bytes, policy: Policy) -> int:
    """What a job adds when it is stored, with what it may add while it waits."""
    return len(call) + policy.long_bytes + SUBMITTED_BYTES
