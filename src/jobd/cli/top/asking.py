"""What `jobctl top` asks and tells in the middle of the screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

HELP = """\
up, down, k, j   another job
Enter, f         follow its output; Esc comes back
c                cancel it, after a question
q, Ctrl-C        quit; jobs go on

CPU     of one processor, since the last look
MEMORY  resident, of all its processes; what they
        share is counted in each
TIME    since its start / its timeout
-       can't be seen: another user's"""


class Box(ModalScreen[str | None]):
    """A text in a frame, over what was there."""

    DEFAULT_CSS = """
    Box { align: center middle; }
    Box > Container {
        width: auto; max-width: 90%; height: auto; padding: 1 2; border: round $primary;
        background: $surface;
    }
    Box Static { width: auto; max-width: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "answer", "Back")]

    def __init__(self, *lines: str) -> None:
        super().__init__()
        self._told = lines

    def compose(self) -> ComposeResult:
        with Container():
            for line in self._told:
                yield Static(Content(line))

    def action_answer(self, how: str | None = None) -> None:
        self.dismiss(how)


class Help(Box):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space,question_mark,h", "answer", "Back", show=False)
    ]

    def __init__(self) -> None:
        super().__init__(HELP)


class CancelQuestion(Box):
    """Dismissed with `ask`, `kill` or None.  Enter alone does nothing: it may have been meant
    for the list.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer('ask')", "Yes"),
        Binding("k", "answer('kill')", "Kill"),
        Binding("n", "answer", "No"),
    ]

    def __init__(self, id: str, what: str) -> None:
        super().__init__(
            f"Cancel job {id}?", what, "",
            "y  yes: tell it to stop, kill it after its grace",
            "k  kill it at once",
            "n  no",
        )  # fmt: skip
