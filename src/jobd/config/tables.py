"""The tables of jobd.toml: which keys there are, what each holds, and what it is by default.

A key that comes with a later release is refused with a message that says so, never accepted
and ignored.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    create_model,
    model_validator,
)  # fmt: skip

from jobd.config import values as kind
from jobd.config.ceilings import BESIDE_LIMITS
from jobd.core.allow import ANY, callable_fault, colon_form, command_fault, env_fault
from jobd.core.fields import FIELDS, LIMITS, POLICY
from jobd.core.rules import DAY_S
from jobd.paths import user_places

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_PASS: Final = (
    "HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_MONETARY",
    "LC_NUMERIC", "LC_TIME", "LOGNAME", "SHELL", "TMPDIR", "TZ", "USER",
)  # fmt: skip
MIB: Final = 1024 * 1024

Count = Annotated[int, PlainValidator(kind.integer(at_least=0))]
Positive = Annotated[int, PlainValidator(kind.integer(at_least=1))]
Seconds = Annotated[float, PlainValidator(kind.duration())]
AboveZero = Annotated[float, PlainValidator(kind.duration(above_zero=True))]
Switch = Annotated[bool, PlainValidator(kind.switch)]
Absolute = Annotated[Path, PlainValidator(kind.path)]
MaybePath = Annotated[Path | None, PlainValidator(kind.path)]
Paths = Annotated[tuple[Path, ...], PlainValidator(kind.array(kind.path, "absolute paths"))]
Names = Annotated[tuple[str, ...], PlainValidator(kind.array(kind.env_name, "names"))]
Environment = Annotated[dict[str, str], PlainValidator(kind.environment)]

OnStop = Literal["leave", "stop"]
Strays = Literal["kill", "leave"]
Fsync = Literal["always", "interval", "never"]
Start = Literal["exec", "fork"]
STARTS: Final[tuple[Start, ...]] = ("exec", "fork") if hasattr(os, "fork") else ("exec",)
Level = Literal["debug", "info", "warning", "error"]
Form = Literal["text", "json"]


def _one_of(words: Any) -> PlainValidator:
    return PlainValidator(kind.choice(*get_args(words)))


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    later: ClassVar[frozenset[str]] = frozenset()
    elsewhere: ClassVar[Mapping[str, str]] = {}  # what somebody could look for here

    def plain(self) -> dict[str, Any]:
        """As JSON, by the keys of the file, what is not set left out."""
        names = {name: field.alias or name for name, field in type(self).model_fields.items()}
        values = {key: getattr(self, name) for name, key in names.items()}
        return {key: _plain(value) for key, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    match value:
        case Table():
            return value.plain()
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case tuple():
            return [_plain(item) for item in value]
        case Path():
            return str(value)
        case _:
            return value


class DaemonTable(Table):
    later = frozenset({"group", "strict_queues", "aging"})

    socket: Absolute = Field(default_factory=lambda: Path(user_places().socket))
    state_dir: Absolute = Field(default_factory=lambda: Path(user_places().state_dir))
    log_dir: Absolute = Field(default_factory=lambda: Path(user_places().log_dir))
    max_running: Positive = Field(default_factory=_cpus)
    max_pending: Positive = 1_000_000
    # A byte less than a submission of any use needs is no bound but a trap.
    max_request_bytes: Annotated[int, PlainValidator(kind.size(at_least=4096))] = 8 * MIB
    max_interruptions: Count = 3
    on_stop: Annotated[OnStop, _one_of(OnStop)] = "leave"
    shutdown_grace: Seconds = 0.0  # or 10 s: by `on_stop`, see below
    stray_children: Annotated[Strays, _one_of(Strays)] = "kill"

    @model_validator(mode="before")
    @classmethod
    def _grace(cls, given: Any) -> Any:
        """To those who leave, nothing is gained by waiting; to those who stop, 10 s are due."""
        if isinstance(given, Mapping) and "shutdown_grace" not in given:
            return {**given, "shutdown_grace": 10 if given.get("on_stop") == "stop" else 0}
        return given


class JournalTable(Table):
    fsync: Annotated[Fsync, _one_of(Fsync)] = "always"
    interval: AboveZero = 1.0
    segment_bytes: Annotated[int, PlainValidator(kind.size(at_least=64 * 1024))] = 16 * MIB


class RetentionTable(Table):
    completed: Seconds = 7 * DAY_S
    failed: Seconds = 7 * DAY_S
    cancelled: Seconds = 7 * DAY_S
    max_jobs: Annotated[int | None, PlainValidator(kind.integer())] = None


def _preload(value: Any, given: ValidationInfo) -> tuple[str, ...]:
    modules = tuple(kind.array(kind.module_name, "module names")(value))
    if modules and given.data.get("start") == "exec":  # absent: wrong, and told of as such
        raise ValueError('needs start = "fork": a new interpreter has nothing imported ahead')
    return modules


class PythonTable(Table):
    executable: Absolute = Field(default_factory=lambda: Path(sys.executable))  # the daemon's own
    path: Paths = ()
    cwd: MaybePath = None
    env: Environment = Field(default_factory=dict)
    start: Annotated[Start, PlainValidator(kind.choice(*STARTS))] = (
        "fork" if sys.platform == "linux" else "exec"
    )
    preload: Annotated[tuple[str, ...], PlainValidator(_preload)] = ()  # after `start`


class EnvTable(Table):
    passed: Names = Field(default=DEFAULT_PASS, alias="pass")
    set: Environment = Field(default_factory=dict)


class OutputTable(Table):
    max_bytes: Annotated[int, PlainValidator(kind.size(at_least=64 * 1024))] = 1024 * MIB
    total_max_bytes: Annotated[int | None, PlainValidator(kind.size(at_least=1))] = None


class LoggingTable(Table):
    level: Annotated[Level, _one_of(Level)] = "info"
    format: Annotated[Form, _one_of(Form)] = "text"
    rotate: Annotated[str | int, PlainValidator(kind.rotation)] = "daily"
    keep: Count = 14
    max_bytes: Annotated[int, PlainValidator(kind.size(at_least=4096))] = 64 * MIB
    params: Switch = True


def _programs(value: Any) -> tuple[str, ...]:
    return tuple(kind.array(_without(command_fault), "absolute programs or globs")(value))


def _env_names(value: Any) -> tuple[str, ...]:
    return tuple(kind.array(_without(env_fault), "names")(value))


def _without(fault_of: Any) -> kind.Kind:
    def check(value: Any) -> Any:
        fault = fault_of(kind.text(value))
        if fault is not None:
            raise ValueError(f"{value!r} {fault}")
        return value

    return check


def _callables(value: Any) -> dict[str, tuple[str, ...]]:
    """By pattern in colon form."""
    if not isinstance(value, dict):
        raise ValueError('must be a table of "module:Name" = [methods]')
    listed: dict[str, tuple[str, ...]] = {}
    faults = []
    for pattern, methods in value.items():
        fault: str | None = (
            f"must be an array of method names, [] for a function, [{ANY!r}] for all"
        )
        if isinstance(methods, list | tuple) and all(isinstance(m, str) for m in methods):
            fault = callable_fault(pattern, methods)
            if fault is None and colon_form(pattern) in listed:
                fault = f"is there twice, as {colon_form(pattern)!r} too"
            listed[colon_form(pattern)] = tuple(methods)
        if fault is not None:
            faults.append(f"{pattern!r}: {fault}")
    if faults:
        raise ValueError("; ".join(faults))
    return listed


class AllowTable(Table):
    commands: Annotated[tuple[str, ...], PlainValidator(_programs)] = ()
    env: Annotated[tuple[str, ...], PlainValidator(_env_names)] = ()
    callables: Annotated[dict[str, tuple[str, ...]], PlainValidator(_callables)] = Field(
        default_factory=dict
    )


class PolicyTable(Table):
    """Any of the policy fields; what is not given is not decided here."""

    later = frozenset(name for name, field in FIELDS.items() if field.later)

    def given(self) -> dict[str, Any]:
        """By name, `limits` as one more mapping."""
        given = {name: getattr(self, name) for name in POLICY if name in self.model_fields_set}
        if "limits" in given:
            given["limits"] = given["limits"].plain()
        return given


class QueueTable(PolicyTable):
    later = PolicyTable.later | {"rate"}

    max_running: Annotated[int | None, PlainValidator(kind.integer(at_least=1))] = None


class DefaultsTable(PolicyTable):
    elsewhere = MappingProxyType({"limits": "is not here: see [limits.default]"})


class CeilingsTable(Table):
    """What a submitter can't go beyond: each of the limits, and some other fields."""


def _table(table: type[Table], kinds: Mapping[str, kind.Kind], **more: Any) -> Any:
    """The table with these keys too; what is not given is None."""
    fields: dict[str, Any] = {
        name: (Annotated[Any, PlainValidator(of)], None) for name, of in kinds.items()
    }
    return create_model(table.__name__, __base__=table, **fields, **more)


_LIMITS: Final = {name: kind.limit(name) for name in LIMITS}
_POLICY: Final = {name: kind.policy_field(name) for name in POLICY if name != "limits"}
_CEILINGS: Final = _LIMITS | {name: kind.policy_field(name) for name in BESIDE_LIMITS}

if TYPE_CHECKING:

    class Limits(Table): ...

    class Ceilings(CeilingsTable): ...

    class Defaults(DefaultsTable): ...

    class Queue(QueueTable): ...

else:
    Limits = _table(Table, _LIMITS)
    Ceilings = _table(CeilingsTable, _CEILINGS)
    Defaults = _table(DefaultsTable, _POLICY)
    Queue = _table(
        QueueTable, {name: of for name, of in _POLICY.items() if name != "queue"},
        limits=(Limits, Field(default_factory=Limits)),
    )  # fmt: skip
QueueName = Annotated[str, PlainValidator(kind.policy_field("queue"))]


class LimitsTable(Table):
    default: Limits = Field(default_factory=Limits)
    max: Ceilings = Field(default_factory=Ceilings)


class Tables(Table):
    """A whole jobd.toml."""

    later = frozenset({"schedules", "access", "dashboard", "metrics", "on"})

    daemon: DaemonTable = Field(default_factory=DaemonTable)
    journal: JournalTable = Field(default_factory=JournalTable)
    defaults: Defaults = Field(default_factory=Defaults)
    limits: LimitsTable = Field(default_factory=LimitsTable)
    retention: RetentionTable = Field(default_factory=RetentionTable)
    python: PythonTable = Field(default_factory=PythonTable)
    env: EnvTable = Field(default_factory=EnvTable)
    output: OutputTable = Field(default_factory=OutputTable)
    queues: dict[QueueName, Queue] = Field(default_factory=dict)
    logging: LoggingTable = Field(default_factory=LoggingTable)
    allow: AllowTable = Field(default_factory=AllowTable)
