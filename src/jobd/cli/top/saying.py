"""What a job writes for a terminal, as text that can stand in the middle of another's screen.

Pure.  Colours and moves of the cursor are left out; whatever else a terminal would obey is shown.
"""

from __future__ import annotations

import re

from jobd.cli.wording import printable

TAB = 8
HELD_MAX = 256  # characters of a sequence that has not ended

# ECMA-48: control sequences; strings that a terminal takes (titles, links); other escapes.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\`-~]", re.DOTALL
)
_BEGUN = re.compile(r"(?:\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)|\r)\Z")
_BACKED = re.compile(r"[^\n\x08]\x08")


def last_line(text: str) -> str:
    """The last one that says something; a line that was drawn over again is what it was last."""
    for line in reversed(Cleaner().text(text + "\n").split("\n")):
        if line.strip():
            return line.strip()
    return ""


class Cleaner:
    """Pieces of output in, as they come; lines of printable characters out."""

    def __init__(self) -> None:
        self._rest = ""  # of a sequence, or a carriage return, that may go on in the next piece

    def text(self, piece: str) -> str:
        piece = self._rest + piece
        begun = _BEGUN.search(piece)
        cut = begun.start() if begun and len(piece) - begun.start() < HELD_MAX else len(piece)
        piece, self._rest = piece[:cut], piece[cut:]
        piece = _SEQUENCES.sub("", piece).replace("\r\n", "\n").replace("\r", "\n")
        piece = _BACKED.sub("", piece).expandtabs(TAB)
        return "\n".join(map(printable, piece.split("\n")))
