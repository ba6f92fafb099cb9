"""jobd.toml → Config; an error names file, key and what is allowed."""

from __future__ import annotations

import contextlib
import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from jobd.config import values
from jobd.config.ceilings import Ceilings
from jobd.config.policy import Policies
from jobd.config.tables import DEFAULT_PATH, Queue, Table, Tables
from jobd.core.allow import AllowList
from jobd.core.fields import FIELDS, POLICY
from jobd.core.job import Policy
from jobd.core.rules import Rules
from jobd.errors import ConfigError
from jobd.paths import find_config, system_places, user_places

FILE_MAX_BYTES: Final = 4 * 1024 * 1024  # a config; more is somebody's mistake, as /dev/zero is

# What is in use for as long as the daemon runs, by key or by table.
_PLACES: Final = ("socket", "state_dir", "log_dir")
RESTART: Final = (*(f"daemon.{name}" for name in _PLACES), "journal")


# There are two, one of them for commands; [limits.default] has them.
_NOT_SHOWN: Final = ("retry_attempts", "limits")


class Config:
    """A config as it holds: read, checked, and all defaults filled in.  Never changes.

    Each table of the file is an attribute.  `path` is the file; None: there is none.
    """

    def __init__(self, tables: Tables, path: str | None = None) -> None:
        self.tables, self.path = tables, path
        self.daemon, self.journal, self.retention = tables.daemon, tables.journal, tables.retention
        self.python, self.output, self.logging = tables.python, tables.output, tables.logging
        self.ceilings = Ceilings(tables.limits.max.plain())
        self.allow = AllowList(tables.allow.callables, tables.allow.commands, tables.allow.env)
        self._policies = Policies(
            tables.defaults.given(),
            {name: queue.given() for name, queue in tables.queues.items()},
            limits=tables.limits.default.plain(),
            ceilings=self.ceilings,
        )

    def rules(self) -> Rules:
        """What the engine follows."""
        limits = {name: q.max_running for name, q in self.tables.queues.items()}
        return Rules(
            max_running=self.daemon.max_running,
            max_pending=self.daemon.max_pending,
            max_interruptions=self.daemon.max_interruptions,
            queue_max={name: limit for name, limit in limits.items() if limit is not None},
            completed_s=self.retention.completed,
            failed_s=self.retention.failed,
            cancelled_s=self.retention.cancelled,
            max_jobs=self.retention.max_jobs,
        )

    def policy(self, fields: Mapping[str, Any], *, is_command: bool) -> Policy:
        """Of a submission whose fields are valid.  Equal policies are one object."""
        return self._policies.of(fields, is_command=is_command)

    def environment(self, daemon_env: Mapping[str, str]) -> dict[str, str]:
        """What each job starts with; always with a PATH, in which programs are looked up."""
        env = self.tables.env
        passed = {name: daemon_env[name] for name in env.passed if name in daemon_env}
        return {"PATH": DEFAULT_PATH, **passed, **env.set}

    def resolved(self) -> dict[str, Any]:
        """As plain JSON, by table and key; what has no value is left out.

        So is `retry_attempts` that nobody set: built in are two, one of them for commands.
        Where `[limits.max]` decides what holds, that is shown as the default.
        """
        plain = self.said()
        self.ceilings.fill(plain["defaults"], plain["limits"]["default"])
        return plain

    def said(self) -> dict[str, Any]:
        """The same, each key with what stands in the file, else with what is built in."""
        plain = self.tables.plain()
        built_in = {name: FIELDS[name].default for name in POLICY if name not in _NOT_SHOWN}
        given = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in built_in.items()
            if value is not None
        }
        plain["defaults"] = given | plain["defaults"]
        if "PATH" not in self.tables.env.passed:
            plain["env"]["set"] = {"PATH": DEFAULT_PATH} | plain["env"]["set"]
        return plain


def load(
    path: str | Path | None = None,
    *,
    state_dir: str | Path | None = None,
    socket: str | Path | None = None,
    log_level: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """The config as told, else of $JOBD_CONFIG, the user's, the system's, else the defaults.

    What the command line says goes before what the file says.  Raises ConfigError, with all
    that is wrong.
    """
    found = find_config(None if path is None else str(path), environ)
    found = found and os.path.abspath(found)
    given = {} if found is None else _read(found)
    told = {"state_dir": state_dir, "socket": socket}
    _overlay(given, "daemon", {key: os.path.abspath(v) for key, v in told.items() if v is not None})
    _overlay(given, "logging", {} if log_level is None else {"level": log_level})
    _place(given, found, environ)
    try:
        tables = Tables.model_validate(given)
    except ValidationError as exc:
        raise ConfigError(found or "the command line", list(_faults(exc))) from None
    if faults := list(_beyond(tables)):
        raise ConfigError(found or "the command line", faults)
    return Config(tables, found)


def reloaded(running: Config, new: Config) -> tuple[Config, list[str], list[str]]:
    """What holds from now on; the keys that took effect; those that need a restart.

    Of the last the running value stays, so that the next reload names them again.
    """
    changed, restart = changes(running, new)
    places = {name: getattr(running.daemon, name) for name in _PLACES}
    daemon = new.daemon.model_copy(update=places)
    tables = new.tables.model_copy(update={"daemon": daemon, "journal": running.journal})
    return Config(tables, new.path), changed, restart


def changes(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """(keys that take effect at a reload, keys that need a restart), dotted, in order."""
    before, after = dict(_leaves(old.said())), dict(_leaves(new.said()))
    differ = sorted(
        key for key in before.keys() | after.keys() if before.get(key) != after.get(key)
    )
    restart = [key for key in differ if key.startswith(RESTART)]
    return [key for key in differ if key not in restart], restart


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = file.read(FILE_MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigError(path, [("", f"can't be read: {exc.strerror}")]) from None
    if len(content) > FILE_MAX_BYTES:
        raise ConfigError(path, [("", f"is larger than {FILE_MAX_BYTES} bytes")])
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as exc:
        raise ConfigError(path, [("", f"is not UTF-8 at byte {exc.start}")]) from None
    except (ValueError, RecursionError) as exc:  # an integer of 5,000 digits, a mile of brackets
        raise ConfigError(path, [("", f"is no TOML: {exc}")]) from None


def _overlay(given: dict[str, Any], table: str, told: dict[str, Any]) -> None:
    """A table that is none is left as it is, to be refused."""
    if isinstance(given.get(table, {}), dict):
        given[table] = given.get(table, {}) | told


def _place(given: dict[str, Any], found: str | None, environ: Mapping[str, str]) -> None:
    """Fills in where things are: for the system's config the system's places, else the user's.

    Logs follow a state directory that was moved, unless they were placed too.
    """
    system = system_places(environ)
    places = system if found == system.config else user_places(environ)
    daemon = given.get("daemon")
    if isinstance(daemon, dict):
        log_dir = places.log_dir
        with contextlib.suppress(ValueError):  # told of as state_dir's fault, once
            log_dir = str(values.path(daemon.get("state_dir", log_dir)))
        defaults = {"socket": places.socket, "state_dir": places.state_dir, "log_dir": log_dir}
        given["daemon"] = defaults | daemon


def _faults(errors: ValidationError) -> Iterator[tuple[str, str]]:
    for error in errors.errors(include_url=False, include_input=False):
        loc = [part for part in error["loc"] if part != "[key]"]
        fault = error.get("ctx", {}).get("error")
        if error["type"] == "extra_forbidden":
            yield _dotted(loc), _no_such_key(loc)
        elif isinstance(fault, ValueError):
            yield _dotted(loc), str(fault)
        else:  # the model's own: what should be a table is none
            yield _dotted(loc), "must be a table"


def _beyond(tables: Tables) -> Iterator[tuple[str, str]]:
    """What is fine by itself, but more than `[limits.max]` allows."""
    ceilings = Ceilings(tables.limits.max.plain())
    given = {_dotted(("queues", name)): queue.given() for name, queue in tables.queues.items()}
    for table, fields in {"defaults": tables.defaults.given(), **given}.items():
        for field, fault in ceilings.faults(fields):
            yield f"{table}.{field}", fault
    for field, fault in ceilings.faults({"limits": tables.limits.default.plain()}):
        yield field.replace("limits", "limits.default"), fault


def _no_such_key(loc: Sequence[str | int]) -> str:
    table, key = _table(loc[:-1]), str(loc[-1])
    if key in table.later:
        return "comes in a later release"
    if key in table.elsewhere:
        return table.elsewhere[key]
    known = [field.alias or name for name, field in table.model_fields.items()]
    near = difflib.get_close_matches(key, known, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"no such {'key' if len(loc) > 1 else 'table'}{meant}; there are {', '.join(known)}"


def _table(loc: Sequence[str | int]) -> type[Table]:
    """The model of the table at this place of the file."""
    table: type[Table] = Tables
    places = list(loc)
    if places[:1] == ["queues"]:
        table, places = Queue, places[2:]
    for place in places:
        inner = table.model_fields[str(place)].default_factory
        assert isinstance(inner, type)
        assert issubclass(inner, Table)
        table = inner
    return table


def _leaves(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield _dotted((*above, key)), value


def _dotted(loc: Sequence[str | int]) -> str:
    """As TOML writes a key: quoted where it is not bare."""
    bare = (str(p) if str(p).replace("-", "").replace("_", "").isalnum() else f'"{p}"' for p in loc)
    return ".".join(bare)
