"""What the keeper says where nobody may be listening: its log, which is empty if all is well."""

from __future__ import annotations

import contextlib
import os


def complain(text: str) -> None:
    """In vain where the log can't be written: no job is to lose its keeper for that."""
    with contextlib.suppress(OSError):
        os.write(2, f"jobd keeper {os.getpid()}: {text}\n".encode(errors="backslashreplace"))
