"""What a daemon and its keeper say to each other: JSON lines, and the files of an attempt.

The keeper speaks first (`hello`), then each side speaks when it has something to say:
requests one way, reports the other.  docs/keeper.md has every message with its fields.
A message that is not understood is a bug of the other side: the connection is closed.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]

VERSION = 2
SOCKET = "keeper.sock"  # in the state directory

# The files in an attempt's directory, `attempts/<id>-<attempt>`.
CALL = "call"  # JSON for the child: what to import and call
CLAIM = "claim"  # made with O_EXCL: whoever makes it decides whether the attempt runs
RESULT = "result"  # JSON of the child: how a callable ended
OUTCOME = "outcome"  # JSON of the keeper: how the process ended
PART = ".part"  # a result or outcome that is not whole yet: room, allocated before the spawn

CLAIM_BYTES = 1024  # allocated before the spawn
OUTCOME_BYTES = 4096  # allocated for one outcome
RESULT_BYTES = 128 * 1024  # and for one result: 64 KiB of JSON, or a traceback, escaped

# An attempt's processes carry these, whatever session they have moved to; the socket with them,
# since another daemon's jobs could have the same ids.
SOCKET_PATH = "JOBD_SOCKET"
JOB_ID = "JOBD_JOB_ID"
ATTEMPT = "JOBD_ATTEMPT"
DEADLINE = "JOBD_DEADLINE"  # and this, if they have a timeout: seconds since the epoch
STOP_SIGNAL = "JOBD_STOP_SIGNAL"  # and this, if they are stopped by another than SIGTERM
# And the keeper carries this: the state directory that it serves.
KEEPER = "JOBD_KEEPER"
# "off" in the daemon's environment, which tells its keeper: no control groups are made.
CGROUPS = "JOBD_CGROUPS"


class Garbled(Exception):
    """The other side does not speak this protocol."""


def encode(message: Message) -> bytes:
    """One line.  Escaped to ASCII: what is no UTF-8 in a path travels as lone surrogates."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> Message:
    """Raises Garbled."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise Garbled(f"no JSON: {exc}") from None
    if not isinstance(message, dict):
        raise Garbled("no object")
    return message


class Lines:
    """Bytes as they arrive in, whole messages out."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def feed(self, chunk: bytes) -> list[Message]:
        """Each piece is looked at once, so that a line of 8 MiB costs no more than its bytes."""
        *whole, rest = chunk.split(b"\n")
        if not whole:
            self._rest.append(rest)
            return []
        whole[0] = b"".join((*self._rest, whole[0]))
        self._rest = [rest]
        return [decode(line) for line in whole]


def attempt_name(id: str, attempt: int) -> str:
    """Of the attempt's directory."""
    return f"{id}-{attempt}"
