"""`jobctl top` on a terminal: looks again each interval, and takes keys."""

from __future__ import annotations

from time import monotonic
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import Worker

from jobd.cli.top import rows
from jobd.cli.top.asking import CancelQuestion, Help
from jobd.cli.top.following import Follow
from jobd.cli.top.glance import Glance, Running, Watch
from jobd.errors import JobdError

SILENT_S = 3.0  # after which a daemon that does not answer is worth a word


class Top(App[int]):
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
    ]

    def __init__(self, socket: str, interval_s: float) -> None:
        super().__init__()
        self._socket = socket
        self._interval_s = interval_s
        self._daemon = Watch(socket)

    def on_mount(self) -> None:
        self.push_screen(Jobs(self._daemon, self._socket, self._interval_s))

    async def on_unmount(self) -> None:
        await self._daemon.aclose()


class Jobs(Screen[None]):
    DEFAULT_CSS = """
    Jobs #summary, Jobs #headings { height: 1; padding: 0 1; text-wrap: nowrap; }
    Jobs #headings { text-style: bold; }
    Jobs OptionList { border: none; padding: 0; height: 1fr; scrollbar-size-vertical: 1; }
    Jobs OptionList:focus { border: none; }
    Jobs OptionList > .option-list--option { padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "cancel", "Cancel"),
        Binding("f", "follow", "Follow"),
        Binding("j", "move(1)", "Down", show=False),
        Binding("k", "move(-1)", "Up", show=False),
        Binding("question_mark,h", "help", "Help"),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(self, daemon: Watch, socket: str, interval_s: float) -> None:
        super().__init__()
        self._socket = socket
        self._interval_s = interval_s
        self._daemon = daemon
        self._glance: Glance | None = None
        self._looking: Worker[None] | None = None
        self._asked_at = 0.0

    def compose(self) -> ComposeResult:
        yield Static(id="summary", markup=False)
        yield Static(id="headings", markup=False)
        yield OptionList(markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self._say(f"asking jobd on {self._socket}")
        self._look()
        self.set_interval(self._interval_s, self._look)

    def on_resize(self, _event: Resize) -> None:
        self.call_after_refresh(self._draw)

    def on_option_list_option_selected(self, _event: OptionList.OptionSelected) -> None:
        self.action_follow()

    # Keys.

    def action_move(self, step: int) -> None:
        jobs = self.query_one(OptionList)
        if step > 0:
            jobs.action_cursor_down()
        else:
            jobs.action_cursor_up()

    def action_follow(self) -> None:
        job = self._chosen()
        if job is not None:
            self.app.push_screen(Follow(self._daemon.client, job.id, job.what, self._ask))

    def action_cancel(self) -> None:
        job = self._chosen()
        if job is not None:
            self._ask(job.id, job.what)

    def action_help(self) -> None:
        self.app.push_screen(Help())

    def _ask(self, id: str, what: str) -> None:
        """Whether to cancel it."""

        def answered(how: str | None) -> None:
            if how is not None:
                self.run_worker(self._cancel(id, force=how == "kill"))

        self.app.push_screen(CancelQuestion(id, what), answered)

    async def _cancel(self, id: str, *, force: bool) -> None:
        self.notify("is told to stop", title=id, timeout=2)
        try:
            answer = await self._daemon.client.cancel(id, force=force)
        except JobdError as error:
            self.notify(str(error), title=id, severity="error", markup=False)
        else:
            self.notify(f"is {answer['status']}", title=id)

    def _chosen(self) -> Running | None:
        at = self.query_one(OptionList).highlighted
        if at is None or self._glance is None or at >= len(self._glance.jobs):
            return None
        return self._glance.jobs[at]

    # What is seen.

    def _look(self) -> None:
        """Unless the last look is still under way."""
        if self._looking is None or self._looking.is_finished:
            self._asked_at = monotonic()
            self._looking = self.run_worker(self._look_once)
        elif monotonic() - self._asked_at > SILENT_S:
            self._say(f"no answer from jobd on {self._socket}; still asking")

    async def _look_once(self) -> None:
        try:
            self._glance = await self._daemon.look()
        except JobdError as error:
            self._say(str(error))
        else:
            self._draw()

    def _say(self, text: str) -> None:
        self.query_one("#summary", Static).update(Content(text))

    def _draw(self) -> None:
        if self._glance is None:
            return
        listed = self.query_one(OptionList)
        width = max(self.size.width - 3, 20)  # both paddings, and a scroll bar
        self._say(f"jobd: {rows.summary(self._glance)}")
        heading, *drawn = rows.lines(self._glance.jobs, width)
        self.query_one("#headings", Static).update(Content(heading))
        prompts = [
            Content.assemble(first, "\n", (second, "dim"))
            for first, second in zip(drawn[::2], drawn[1::2], strict=True)
        ]
        ids = [job.id for job in self._glance.jobs]
        shown = [option.id for option in listed.options]
        if ids == shown:
            for id, prompt in zip(ids, prompts, strict=True):
                listed.replace_option_prompt(id, prompt)
            return
        at = listed.highlighted
        chosen = None if at is None else shown[at]
        listed.set_options(Option(p, id=id) for id, p in zip(ids, prompts, strict=True))
        if ids:
            near = min(at or 0, len(ids) - 1)
            listed.highlighted = ids.index(chosen) if chosen in ids else near
