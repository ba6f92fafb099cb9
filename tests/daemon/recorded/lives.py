"""Runs the daemon three times, and between its lives leaves what a killed write leaves.

A script: the directory of the journal, then the daemon's command.  It runs under the same strace
as the daemon, so that what it does to the files is in the one recording, in its place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HALF = b'{"crc":"00000000","seq":'


def main(journal: Path, command: list[str]) -> int:
    subprocess.run(command, check=False)
    leave_half_a_commit(journal)
    subprocess.run(command, check=False)
    leave_half_a_header(journal)
    return subprocess.run(command, check=False).returncode


def leave_half_a_commit(journal: Path) -> None:
    """As of a write that the kill has met; a real one can't be had for the asking."""
    fd = os.open(max(journal.glob("*.jsonl")), os.O_WRONLY | os.O_APPEND)
    # How much of the last daemon's last write was done no trace can tell: say it.
    os.ftruncate(fd, os.fstat(fd).st_size)
    os.write(fd, HALF + b'1,"records":[' + b"7" * 5000)
    os.close(fd)


def leave_half_a_header(journal: Path) -> None:
    """Of the segment that would have come next."""
    newest = max(journal.glob("*.jsonl"))
    fd = os.open(newest, os.O_WRONLY | os.O_APPEND)
    os.ftruncate(fd, os.fstat(fd).st_size)
    os.close(fd)
    last = json.loads(newest.read_bytes().splitlines()[-1])
    next_seq = last["seq"] + len(last["records"]) if "seq" in last else last["first_seq"]
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
    fd = os.open(journal / f"{next_seq:020d}.jsonl", flags, 0o600)
    os.write(fd, b'{"crc":"00000000","journal":"jo')
    os.close(fd)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
