"""What a callable's process left as its result, read with suspicion: a job can make any file."""

from __future__ import annotations

import os
import stat

from jobd.keeper.protocol import RESULT, RESULT_BYTES


def read_result(directory: str) -> str | None:
    """Its text; None: nothing, no plain file, or more than a child of ours would write."""
    path = f"{directory}/{RESULT}"
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        with open(path, "rb") as file:
            content = file.read(RESULT_BYTES + 1)
    except OSError:
        return None
    return content.decode("utf-8", "replace") if len(content) <= RESULT_BYTES else None
