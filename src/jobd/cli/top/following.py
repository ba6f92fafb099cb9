"""The output of one job, as it comes, on a screen of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Log, Static

from jobd.cli.top.saying import Cleaner
from jobd.client.aio import AsyncClient
from jobd.errors import JobdError

Ask = Callable[[str, str], None]  # of a job's id and what it is
TAIL = 500  # lines to begin with
LINES_MAX = 10_000  # kept to scroll back to


class Follow(Screen[None]):
    DEFAULT_CSS = """
    Follow #title { height: 1; padding: 0 1; text-style: bold; text-wrap: nowrap; }
    Follow Log { height: 1fr; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f", "back", "Back"),
        Binding("end,G", "end", "To the end"),
        Binding("c", "cancel", "Cancel"),
    ]

    def __init__(self, client: AsyncClient, job: str, what: str, cancel: Ask) -> None:
        super().__init__()
        self._client = client
        self._job = job
        self._what = what
        self._cancel = cancel

    def compose(self) -> ComposeResult:
        yield Static(Content(f"{self._job}  {self._what}"), id="title")
        yield Log(max_lines=LINES_MAX)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(Log).focus()
        self.run_worker(self._follow())  # and is cancelled with this screen

    def action_back(self) -> None:
        self.dismiss()

    def action_cancel(self) -> None:
        self._cancel(self._job, self._what)

    def action_end(self) -> None:
        self.query_one(Log).scroll_end()

    async def _follow(self) -> None:
        shown = self.query_one(Log)
        cleaner = Cleaner()
        try:
            async for chunk in self._client.follow(self._job, streams=("both",), tail=TAIL):
                shown.write(cleaner.text(chunk["data"]))
            document = await self._client.status(self._job)
            ending = document["status"]
        except JobdError as error:
            ending = str(error)
        title = Content(f"{self._job} ({ending})  {self._what}")
        self.query_one("#title", Static).update(title)
