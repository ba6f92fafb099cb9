"""Which submissions are new, and which were made before: told by their stems."""

from __future__ import annotations

import json
from collections.abc import Sequence

from jobd.core.commands import Submission
from jobd.core.register import Register
from jobd.errors import Conflict


def fresh(submissions: Sequence[Submission], jobs: Register) -> int:
    """How many are new.  Conflict if one repeats a `request_id` with other content."""
    calls: dict[str, bytes] = {}
    known = 0
    for submission in submissions:
        job = jobs.of_stem(submission.stem)
        call = job.call if job is not None else calls.get(submission.stem)
        if call is None:
            calls[submission.stem] = submission.call
            continue
        known += 1
        if call != submission.call and _canonical(call) != _canonical(submission.call):
            raise Conflict("request_id was used for another submission; choose a new one")
    return len(submissions) - known


def _canonical(call: bytes) -> str:
    """Text, not values: to Python `true` is 1, and 1 is 1.0."""
    return json.dumps(json.loads(call), sort_keys=True)
