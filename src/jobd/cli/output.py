"""`jobctl logs`: what a job has written."""

from __future__ import annotations

import sys

from jobd.cli.arguments import Asked, Parser, integer, note, print_json
from jobd.client.calls import said

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TextIO

    from jobd.client.sync import Client


def logs_options(parser: Parser) -> None:
    add = parser.add_argument
    add("id", metavar="ID", help="or its first letters, 4 or more")
    add("-f", "--follow", action="store_true", help="until the job has ended")
    add("--attempt", metavar="N", type=integer, help="else the latest")
    add("--stdout", action="store_true", help="only this")
    add("--stderr", action="store_true", help="only this")
    add("--tail", metavar="LINES", type=integer, help="only the last ones")


def logs(asked: Asked) -> int:
    client = asked.client()
    stream = "both"
    if asked.stdout != asked.stderr:
        stream = "stdout" if asked.stdout else "stderr"
    wanted = said({"attempt": asked.attempt, "tail": asked.tail})
    if asked.follow:
        for chunk in client.follow(asked.id, streams=(stream,), **wanted):
            if not asked.tell(chunk):
                show(chunk)
        return 0
    pieces = _pieces(client, {"id": asked.id, "stream": stream, **wanted})
    if asked.json:
        print_json(_joined(pieces))
        return 0
    for piece in pieces:
        show(piece)
    return 0


def show(piece: dict[str, Any], out: TextIO | None = None) -> None:
    """Where bytes were left out, standard error says so; the output itself stays the job's."""
    out = out or sys.stdout
    out.flush()
    if piece["skipped"]:
        note(f"… {piece['skipped']:,} bytes of the output are not kept …")
    out.buffer.write(piece["data"].encode())
    out.buffer.flush()


def _pieces(client: Client, wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """To the end of what there is now, all of the same attempt."""
    while True:
        piece = client.call("logs", wanted)
        yield piece
        if piece["eof"] or not (piece["data"] or piece["skipped"]):
            return
        wanted = {**wanted, "attempt": piece["attempt"], "offset": piece["offset"]}
        wanted.pop("tail", None)


def _joined(pieces: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """As one answer would have been, had the limit been higher."""
    told = list(pieces)
    return {
        **told[-1],
        "data": "".join(piece["data"] for piece in told),
        "skipped": sum(piece["skipped"] for piece in told),
        "lossy": any(piece["lossy"] for piece in told),
    }


VERBS = {"logs": (logs_options, logs)}
