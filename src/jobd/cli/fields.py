"""The options of `submit` and `run`: each is a field of a job.

The table is written out, since `core.fields` costs more to import than all the rest; a test
holds the two together.
"""

from __future__ import annotations

import argparse
import os
import re
import time

from jobd.cli.arguments import UsageError, duration, integer, whole_number, worded
from jobd.cli.grammar import call_of, strict_json
from jobd.durations import parse_duration, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


def field_options(parser: argparse.ArgumentParser) -> None:
    """A field is in the result of the parse only if it was given."""
    add = parser.add_argument_group("fields of the job").add_argument
    for flags, options in _OPTIONS:
        add(*flags, default=argparse.SUPPRESS, **options)
    add(
        "--env", action="append", metavar="NAME[=VALUE]", default=[], dest="_env",
        help="without a value: the caller's",
    )  # fmt: skip
    add("--here", action="store_true", dest="_here", help="cwd is the current directory")
    limits = parser.add_argument_group(
        "limits", "of each attempt, for all of its processes; `none`: none at all"
    )
    for flags, options in _LIMITS:
        limits.add_argument(*flags, default=argparse.SUPPRESS, **options)
    for flag in LATER:
        parser.add_argument(flag, action=_Later, nargs="?", help=argparse.SUPPRESS)


def submission_of(asked: argparse.Namespace) -> dict[str, Any]:
    """Params of `submit`."""
    words: list[str] = asked.words
    command: list[str] | None = asked.command
    if command is None and not words:
        raise UsageError("what is to run? TARGET, or `--` and a program")
    if command is not None and (words or not command):
        raise UsageError("either TARGET or `--` and a program")
    call = call_of(words) if command is None else {"command": command}
    return {**call, **given_fields(asked)}


def given_fields(asked: argparse.Namespace) -> dict[str, Any]:
    """By the name that the protocol has for each."""
    fields = {name: value for name, value in vars(asked).items() if name in NAMES}
    limits = {name: value for name, value in vars(asked).items() if name in LIMITS}
    if limits:
        fields["limits"] = limits
    env = dict(_variable(text) for text in asked._env)
    if env:
        fields["env"] = env
    if asked._here:
        if "cwd" in fields:
            raise UsageError("either --cwd or --here")
        fields["cwd"] = os.getcwd()
    return fields


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        if name not in os.environ:
            raise UsageError(f"--env {name}: there is no such variable here to copy")
        value = os.environ[name]
    return name, value


def parse_backoff(text: str) -> str | list[float]:
    """A shape, or waits: `1,5,30s`."""
    if text in ("fixed", "linear", "exponential"):
        return text
    waits = strict_json(text) if text.startswith("[") else text.split(",")
    return [parse_duration(str(wait)) for wait in waits]


def or_none(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """`none`: none at all, whatever the config says."""
    return lambda text: None if text == "none" else parse(text)


def parse_codes(text: str) -> list[int]:
    """`0,3`."""
    return [whole_number(code.strip()) for code in text.split(",")]


def parse_ends(text: str) -> list[int | str]:
    """`3,SIGSEGV,ValueError`; which of them there are, the daemon knows."""
    if text == "none":  # there is no exception of that name
        return []
    ends = [end.strip() for end in text.split(",")]
    return [whole_number(end) if end.lstrip("-").isdecimal() else end for end in ends]


def parse_signal(text: str) -> str:
    """`term`, `TERM` → `SIGTERM`; the daemon knows which there are."""
    name = text.upper()
    return name if name.startswith("SIG") else f"SIG{name}"


def parse_at(text: str) -> str:
    """An instant, or the next time that a local clock shows `HH:MM`; RFC 3339 in UTC."""
    from jobd.instants import parse_rfc3339, rfc3339

    clock = _CLOCK.fullmatch(text)
    if clock is None:
        try:
            return rfc3339(parse_rfc3339(text))
        except ValueError as exc:
            raise ValueError(f"{text[:40]!r} {exc}, or a local HH:MM") from None
    hour, minute = int(clock[1]), int(clock[2])
    now = time.time()
    today = time.localtime(now)
    for day in (today.tm_mday, today.tm_mday + 1):  # mktime carries the 32nd over
        local = (today.tm_year, today.tm_mon, day, hour, minute, 0, 0, 0, -1)
        at = time.mktime(local)
        if at > now:
            break
    return rfc3339(at)


class _Later(argparse.Action):
    def __call__(
        self, _parser: argparse.ArgumentParser, _asked: argparse.Namespace,
        _values: str | Sequence[Any] | None, flag: str | None = None,
    ) -> None:  # fmt: skip
        raise UsageError(f"{flag} comes in a later release")


def _option(*flags: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return flags, options


_OPTIONS = (
    _option("--queue", metavar="NAME"),
    _option("--priority", metavar="N", type=integer, help="1…10, higher runs first"),
    _option("--delay", metavar="T", type=duration, help="not before 90, 90s, 1.5m, 2h, 1d"),
    _option(
        "--at", "--run-at", metavar="WHEN", type=worded(parse_at), dest="run_at",
        help="not before this RFC 3339 instant, or local HH:MM",
    ),
    _option(
        "--retries", "--retry-attempts", metavar="N", type=integer, dest="retry_attempts",
        help="how often a failed job is run again",
    ),
    _option("--retry-delay", metavar="T", type=duration, help="the wait before the first retry"),
    _option(
        "--backoff", metavar="SHAPE", type=worded(parse_backoff),
        help="fixed, linear, exponential, or waits: 1,5,30s",
    ),
    _option("--retry-max-delay", metavar="T", type=duration, help="no wait is longer"),
    _option(
        "--retry-jitter", metavar="F", type=float, help="adds up to that fraction, 0…1, at random"
    ),
    _option(
        "--timeout", metavar="T", type=worded(or_none(parse_duration)),
        help="of an attempt; `none`: no limit",
    ),
    _option(
        "--idle-timeout", metavar="T", type=worded(or_none(parse_duration)),
        help="of an attempt without output and progress; `none`: no limit",
    ),
    _option("--kill-grace", metavar="T", type=duration, help="from the stop signal to the kill"),
    _option("--stop-signal", metavar="NAME", type=parse_signal),
    _option(
        "--success-codes", metavar="N,…", type=worded(parse_codes),
        help="exit codes of a command that count as success",
    ),
    _option(
        "--no-retry-on", metavar="END,…", type=worded(parse_ends),
        help="exit codes, signals and exceptions after which the job fails at once",
    ),
    _option("--on-interrupt", choices=("retry", "fail")),
    _option("--request-id", metavar="ID", help="asking again with it finds the same job"),
    _option("--label", metavar="TEXT", help="what lists show"),
    _option("--tag", metavar="TEXT", action="append", dest="tags", help="may be repeated"),
    _option("--cwd", metavar="DIR", type=os.path.abspath, help="working directory"),
)  # fmt: skip
# What one attempt may take, its whole tree together: the field `limits`.
_LIMITS = (
    _option("--memory", metavar="SIZE", type=worded(or_none(parse_size)), help="512MiB, 2GiB"),
    _option("--cpu-time", metavar="T", type=worded(or_none(parse_duration))),
    _option("--processes", metavar="N", type=worded(or_none(whole_number)), help="at once"),
    _option("--open-files", metavar="N", type=worded(or_none(whole_number)), help="of a process"),
    _option(
        "--nice", metavar="N", type=worded(or_none(whole_number)),
        help="added to the daemon's; a higher one gives way",
    ),
)  # fmt: skip
LATER = ("--key", "--if-exists", "--after", "--weight", "--expires")


def _names(options: tuple[tuple[tuple[str, ...], dict[str, Any]], ...]) -> frozenset[str]:
    return frozenset(
        rest.get("dest", flags[0].removeprefix("--").replace("-", "_")) for flags, rest in options
    )


NAMES = _names(_OPTIONS)
LIMITS = _names(_LIMITS)
