"""What the methods ask of the daemon, and nothing more.

`main` supplies one object that has all of it; the tests supply another.  Everything runs on
the daemon's one event loop, so between two awaits nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from jobd.chunk import Chunk, Stream
from jobd.core.allow import Admitted, Refused
from jobd.core.commands import Command
from jobd.core.decision import Fact
from jobd.core.engine import Engine
from jobd.core.job import Policy
from jobd.core.moment import Moment

T = TypeVar("T")

Sink = Callable[[Fact], None]  # called on the loop, in order of seq; must not raise nor block


class Identity(NamedTuple):
    """What `ping` says beside the name and the version of the protocol."""

    version: str
    pid: int
    started_at: float  # wall clock
    config: str | None  # the path of the file that was read; None: built-in defaults


class Reloaded(NamedTuple):
    """Dotted keys of the config: those that took effect, and those that need a restart."""

    changed: Sequence[str]
    restart: Sequence[str]


class Held(NamedTuple):
    """Facts that a late follower asked for."""

    facts: Sequence[Fact]  # in order of seq
    gap: bool  # some of those that were asked for are held no longer


class Hub(Protocol):
    """Tells of each record after it is on disk, and holds the latest ones.

    A fact reaches the sinks before the answer of the command that made it reaches its caller.
    So whoever subscribes first and asks after that misses nothing.
    """

    @property
    def seq(self) -> int:
        """Of the latest fact announced; at a start, of the last record replayed."""

    def subscribe(self, sink: Sink, ids: Collection[str] | None = None) -> None:
        """`sink` is called for every later fact about one of `ids`; None: about every job.

        A call of `unsubscribe` from inside a sink is fine.  One sink subscribes once.
        """

    def unsubscribe(self, sink: Sink) -> None:
        """`sink` is not called again.  Of an unknown one: does nothing."""

    def held(self, since: int) -> Held:
        """The facts with a greater seq than `since` that are still held, up to `seq`."""


class Watch(Protocol):
    """Wakes somebody who follows the output of one job."""

    async def grown(self) -> None:
        """Returns when something was written since the last return, or since the start.

        May return too often; never misses.  Cancellation is fine.
        """

    def close(self) -> None: ...


class Outputs(Protocol):
    async def read(
        self,
        id: str,
        attempt: int,
        stream: Stream,
        *,
        offset: int | str,  # as a Chunk gave it; 0 is the beginning, for `both` too
        tail: int | None,  # begin at the last `tail` lines instead; `offset` is then 0
        limit: int,  # bytes
        over: bool,  # the attempt has ended: a character cut at the end is lossy, not awaited
        again: bool,  # from its beginning, if it is shorter now than what was read of it
    ) -> Chunk:
        """Reads in a thread.  No file (yet): an empty chunk.  ValueError: not an offset of ours.

        LookupError: the attempt's output was removed (retention).
        """

    def watch(self, id: str) -> Watch:
        """Of the job's output, whichever attempt writes it."""


class Backend(Protocol):
    # The loop.

    async def execute(self, command: Command) -> Any:
        """The decision's answer, once it is on disk.  Raises RequestError; then nothing changed.

        After the last sync of a stopping daemon: `Draining`.
        """

    async def ask(self, question: Callable[[Engine, Moment], T]) -> T:
        """`question`, put inside the loop; answered when the batch that it saw is on disk.

        It must be quick, and what it returns must hold no Job.  What it raises is raised here.
        """

    @property
    def hub(self) -> Hub: ...

    def now(self) -> Moment: ...

    # Submissions.

    def policy(self, fields: Mapping[str, Any], *, is_command: bool) -> Policy:
        """The policy fields as given and valid (None only where a field is nullable), resolved.

        Submission, else queue, else [defaults], else built in.  Equal ones are one object.
        Arrays come as lists, `limits` as a dict: see `core.job.policy_value`.
        """

    def limit_faults(self, fields: Mapping[str, Any], *, is_command: bool) -> list[tuple[str, str]]:
        """(field, message) for what a submission asks for beyond what the config's ceilings or
        this platform allow.  `fields` as for `policy`.
        """

    def authorise(self, call: Mapping[str, Any]) -> Admitted | Refused:
        """`call`: the fields as they'd be stored, `target` in colon form, `method` in place."""

    def refused(self, peer: str, call: Mapping[str, Any], why: str) -> None:
        """Logs a submission that the allow-list refused."""

    # What is not in the engine.

    def pid_of(self, id: str) -> int | None:
        """Of the live attempt."""

    @property
    def outputs(self) -> Outputs: ...

    @property
    def identity(self) -> Identity: ...

    def stats(self) -> Mapping[str, Any]:
        """What `stats` has beside counts and limits: `{uptime_s, journal: {…}, throughput, …}`."""

    async def reload(self) -> Reloaded:
        """Raises ConfigError; then the old config stays."""

    async def upgrade(self) -> None:
        """Returns when the new program was found able to take over, which it then does; the
        answers that are due come first.  Raises CannotStart; then all is as it was.
        """

    def shutdown(self, *, drain: bool) -> None:
        """As SIGTERM (twice, without `drain`).  Returns at once; never exits before
        the answers that are due were given to the transport (`Server.aclose`)."""

    @property
    def max_request_bytes(self) -> int: ...
