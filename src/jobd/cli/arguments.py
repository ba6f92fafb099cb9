"""What all of jobctl's verbs share on the command line."""

from __future__ import annotations

import argparse
import os
import sys

from jobd.client.protocol import encoded
from jobd.client.sync import Client
from jobd.durations import parse_duration
from jobd.paths import find_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from _typeshed import SupportsWrite

EXIT_USAGE = 2
EXIT_TIMEOUT = 124  # one of jobctl's own; of `run`, the job's
EXIT_OF_RUN = 125  # `run` has the program's codes; what is jobd's own must not look like one


class UsageError(Exception):
    """Can't be done as it was asked for; the daemon has nothing to do with it."""


class Asked(argparse.Namespace):
    """A verb's parsed arguments."""

    json: bool
    socket: str | None
    command: list[str] | None  # what followed `--`, of verbs that take a program
    _client: Client | None = None

    def where(self) -> str:
        return find_socket(self.socket)

    def client(self) -> Client:
        if self._client is None:
            self._client = Client(self.socket)
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def tell(self, result: Any) -> bool:
        """With --json: prints an answer of the daemon and is true."""
        if self.json:
            print_json(result)
        return self.json


class Parser(argparse.ArgumentParser):
    """Options may stand anywhere; a wrong one ends the process with `exit_code`."""

    def __init__(self, *, exit_code: int = EXIT_USAGE, **options: Any) -> None:
        self._width = _columns() - 2  # used while options are added, too
        super().__init__(allow_abbrev=False, **options)
        self._exit_code = exit_code
        self.takes_program = False  # what follows `--` is nobody's options

    def parse(self, arguments: list[str]) -> Asked:
        asked = Asked(command=None)
        if self.takes_program and "--" in arguments:
            at = arguments.index("--")
            arguments, asked.command = arguments[:at], arguments[at + 1 :]
        return self.parse_intermixed_args(arguments, asked)

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        super().print_help(file)
        if file is None and sys.stdout is not None:
            sys.stdout.flush()  # here a pipe that nobody reads is no complaint of Python's

    def _get_formatter(self) -> argparse.HelpFormatter:
        # Made for each option that is added; without a width each asks shutil for the
        # terminal's, whose import costs as much as argparse's own.
        return argparse.HelpFormatter(self.prog, width=self._width)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(self._exit_code, f"{self.prog}: {message}\n")


def _columns() -> int:
    """The terminal's: what shutil would say."""
    try:
        columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
    except (ValueError, OSError):  # no number; no terminal
        columns = 0
    return columns if columns > 0 else 80


def common_options(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print the daemon's answer as JSON")
    parser.add_argument("--socket", metavar="PATH", help="of the daemon")


def no_options(_parser: Parser) -> None:
    """None but those of all."""


def ids(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="+", metavar="ID", help="or its first letters, 4 or more")


def worded(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """For `type=`: argparse drops the message of a ValueError."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from None

    return parsed


def whole_number(text: str) -> int:
    if not text.lstrip("-").isdecimal() or len(text) > 18:
        raise ValueError(f"{text[:40]!r} is no whole number")
    return int(text)


duration = worded(parse_duration)
integer = worded(whole_number)


def print_json(value: Any) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(encoded(value) + b"\n")
    sys.stdout.buffer.flush()


def write_no_more() -> None:
    """To standard output, which the interpreter flushes once more at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(message: str) -> None:
    print(f"jobctl: {message}", file=sys.stderr)
