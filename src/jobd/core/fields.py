"""What a submission may say: every field of a job, its shape and its bounds, as data.

The edges (RPC, config, command line, documentation) build what they need from this table;
`Policy` asserts it.  So there is one list of fields, and no second model of a job.
"""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

DURATION_MAX_S: Final = 100 * 365.25 * 86400  # 100 years
STRING_MAX: Final = 255
EXIT_CODE_MAX: Final = 2**32 - 1  # a Windows one may be anything
CODES_MAX: Final = 64  # in `success_codes`, and ends in `no_retry_on`

Shape = Literal[
    "string", "strings", "integer", "number", "array", "object", "backoff", "instant", "string_map",
    "codes", "ends", "limits", "any",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field.  `number` fields are seconds unless `unit` says otherwise."""

    shape: Shape
    says: str  # one line for the documentation
    default: Any = None
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    length_max: int | None = None
    length_min: int = 0
    items_max: int | None = None  # of an array
    pattern: str | None = None  # of strings
    choices: tuple[str, ...] = ()
    nullable: bool = False
    unit: str = ""
    policy: bool = False  # may stand in [defaults] and [queues.NAME], is resolved at submission
    later: bool = False  # refused with a message that says so

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value of the right type, or None.  Types are the edge's business;
        of what is inside `codes`, `ends` and `limits`, the types are looked at here.
        """
        if value is None:
            return None if self.nullable else "must not be null"
        if self.shape in ("codes", "ends"):
            return self._items_fault(value)
        if self.shape == "limits":
            return _limits_fault(value)
        if self.shape == "backoff" and not isinstance(value, str):
            waits = FIELDS["retry_delay"]
            if not value:
                return "needs at least one wait"
            return next((f for f in map(waits.fault, value) if f is not None), None)
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}"
        if self.pattern is not None and not re.match(self.pattern, value):
            return f"must match {self.pattern_shown}"
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._out_of_bounds(value)
        return None

    def _items_fault(self, items: Sequence[Any]) -> str | None:
        if len(items) < self.length_min:
            return "must not be empty"
        if self.items_max is not None and len(items) > self.items_max:
            return f"must have at most {self.items_max} items"
        return next(filter(None, map(self._item_fault, items)), None)

    def _item_fault(self, item: Any) -> str | None:
        if type(item) is int and 0 <= item <= EXIT_CODE_MAX:
            return None
        if self.shape == "codes" or not isinstance(item, str):
            more = "" if self.shape == "codes" else ", names of signals or of exceptions"
            return f"must be an array of exit codes, 0 to {EXIT_CODE_MAX}{more}"
        return None if len(item) <= STRING_MAX and END.match(item) else f"{item[:64]!a} is no name"

    @property
    def pattern_shown(self) -> str:
        """As everybody but Python writes it, to whom `$` would also match before a newline."""
        return "" if self.pattern is None else self.pattern.replace(r"\Z", "$")

    def _out_of_bounds(self, value: float) -> str | None:
        if not math.isfinite(value):
            return "must be a finite number"
        if self.at_least is not None and value < self.at_least:
            return f"must be at least {self.at_least:g}"
        if self.above is not None and value <= self.above:
            return f"must be more than {self.above:g}"
        if self.at_most is not None and value > self.at_most:
            return f"must be at most {self.at_most:g}"
        return None


# Of a signal or an exception: `SIGSEGV`, `ValueError`, `app.errors:Permanent`.
END: Final = re.compile(r"(?:[^\W\d]\w*(?:\.[^\W\d]\w*)*:)?[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")


def _limits_fault(limits: Mapping[str, Any]) -> str | None:
    """Every one, in one sentence."""
    faults = [fault for name, value in limits.items() if (fault := limit_fault(name, value))]
    return "; ".join(faults[:LIMITS_FAULTS_MAX]) or None


def limit_fault(name: str, value: Any) -> str | None:
    """What is wrong with one of `limits`, which is named."""
    field = LIMITS.get(name)
    if field is None:
        return f"{name[:64]!a} is none of {', '.join(LIMITS)}"
    if value is None:
        return None
    right = {int} if field.shape == "integer" else {int, float}
    if type(value) not in right:
        return f"{name} must be {'an integer' if field.shape == 'integer' else 'a number'}"
    fault = field.fault(value)
    return None if fault is None else f"{name} {fault}"


_SECONDS: Final[dict[str, Any]] = {
    "shape": "number", "at_most": DURATION_MAX_S, "unit": "s",
}  # fmt: skip
SIGNALS: Final = tuple(sorted(s.name for s in signal.Signals))

# What an attempt may use, as a whole tree; null: as much as it likes.
LIMITS: Final[Mapping[str, Field]] = {
    "memory": Field(
        shape="integer", at_least=1 << 20, at_most=1 << 62, nullable=True, unit="bytes",
        says="more than that in memory ends the attempt: kind `memory`",
    ),
    "cpu_time": Field(
        **_SECONDS, above=0, nullable=True,
        says="more CPU time than that ends the attempt: kind `cpu_time`",
    ),
    "processes": Field(
        shape="integer", at_least=1, at_most=1 << 22, nullable=True,
        says="more processes and threads at once than that end the attempt: kind `signal`",
    ),
    "open_files": Field(
        shape="integer", at_least=16, at_most=1 << 30, nullable=True,
        says="open in one process; the next one is refused to it",
    ),
    "nice": Field(
        shape="integer", at_least=-20, at_most=19, nullable=True, says="added to the daemon's"
    ),
}  # fmt: skip
LIMITS_FAULTS_MAX: Final = 10  # that are told

FIELDS: Final[Mapping[str, Field]] = {
    "target": Field(shape="string", says="the callable, `package.module:Name`"),
    "method": Field(
        shape="string", nullable=True,
        says="method of the class; `handle` if Name begins with a capital letter, else null",
    ),
    "args": Field(shape="array", default=(), says="positional arguments of the callable"),
    "kwargs": Field(shape="object", default={}, says="keyword arguments of the callable"),
    "command": Field(
        shape="strings", length_min=1, says="program and arguments, run without a shell"
    ),
    "queue": Field(
        shape="string", default="default", pattern=r"^[A-Za-z0-9._-]{1,64}\Z", policy=True,
        says="the queue; made by first use",
    ),
    "priority": Field(
        shape="integer", default=1, at_least=1, at_most=10, policy=True, says="higher runs first"
    ),
    "delay": Field(
        **_SECONDS, default=0, at_least=0,
        says="not before this long after the submission; excludes run_at",
    ),
    "run_at": Field(shape="instant", says="not before this instant"),
    "retry_attempts": Field(
        shape="integer", default=3, at_least=0, at_most=1000, policy=True,
        says="how many times a failed job is run again; 0 for a command",
    ),
    "retry_delay": Field(
        **_SECONDS, default=5, at_least=0, policy=True, says="the wait before the first retry"
    ),
    "backoff": Field(
        shape="backoff", default="fixed", choices=("fixed", "linear", "exponential"), policy=True,
        says="how the later waits grow, or an array of waits whose last repeats",
    ),
    "retry_max_delay": Field(
        **_SECONDS, default=3600, at_least=0, policy=True, says="no wait is longer"
    ),
    "retry_jitter": Field(
        shape="number", default=0, at_least=0, at_most=1, policy=True,
        says="adds up to that fraction of the wait at random",
    ),
    "timeout": Field(
        **_SECONDS, above=0, nullable=True, policy=True,
        says="per attempt; then the stop signal, and after kill_grace the kill",
    ),
    "kill_grace": Field(
        **_SECONDS, default=10, at_least=0, policy=True,
        says="between the stop signal and the kill",
    ),
    "stop_signal": Field(
        shape="string", default="SIGTERM", choices=SIGNALS, policy=True, says="name of the signal"
    ),
    "idle_timeout": Field(
        **_SECONDS, above=0, nullable=True, policy=True,
        says="per attempt; the same when neither output nor progress came for this long",
    ),
    "expires": Field(
        **_SECONDS, above=0, nullable=True, policy=True, later=True,
        says="fails if not started within this long",
    ),
    "success_codes": Field(
        shape="codes", default=(0,), length_min=1, items_max=CODES_MAX, policy=True,
        says="exit codes of a command that count as success",
    ),
    "no_retry_on": Field(
        shape="ends", default=(), items_max=CODES_MAX, policy=True,
        says="exit codes, signals and exceptions after which the job fails at once",
    ),
    "on_interrupt": Field(
        shape="string", default="retry", choices=("retry", "fail"), policy=True,
        says="run again (at least once), or failed (at most once)",
    ),
    "key": Field(shape="any", later=True, says="unique while a job with it is not final"),
    "if_exists": Field(shape="any", later=True, says="what a second job of that key does"),
    "request_id": Field(
        shape="string", length_max=STRING_MAX, nullable=True,
        says="asking again with the same one finds the same job",
    ),
    "after": Field(shape="any", later=True, says="ids that must complete first"),
    "weight": Field(shape="any", later=True, says="slots that the job takes"),
    "label": Field(
        shape="string", length_max=STRING_MAX, nullable=True,
        says="what lists show; else the target or program",
    ),
    "tags": Field(shape="strings", default=(), length_max=STRING_MAX, says="for listing"),
    "env": Field(
        shape="string_map", default={}, says="added to the environment that the config lets through"
    ),
    "cwd": Field(
        shape="string", nullable=True, policy=True, says="working directory, an absolute path"
    ),
    "limits": Field(
        shape="limits", default={}, policy=True, says="what an attempt may use, as a whole tree"
    ),
}  # fmt: skip

POLICY: Final = tuple(name for name, f in FIELDS.items() if f.policy and not f.later)
