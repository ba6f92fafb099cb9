"""What the config says to a start; read anew for each one, so that a reload takes effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSettings:
    python: str  # the interpreter of callables
    socket: str  # the daemon's, for the job's own clients
    python_path: Sequence[str] = ()  # put before what the interpreter has
    python_cwd: str | None = None  # of callables whose policy names none; None: home
    env: Mapping[str, str] = field(default_factory=dict)  # what [env] lets through and sets
    python_env: Mapping[str, str] = field(default_factory=dict)  # added for callables
    stray: Literal["kill", "leave"] = "kill"
    patterns: Sequence[str] = ()  # of the allow-list, in colon form (`AllowList.patterns`)
    output_max: int | None = None  # bytes of each stream of an attempt that are kept
    # Of the warm interpreter that callables are forked from, as the keeper is told of it; None:
    # each gets a new interpreter.
    runtime: Mapping[str, Any] | None = None
