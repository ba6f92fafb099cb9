"""`jobctl`: finds the verb, and turns what went wrong into an exit code.

A verb's module is imported when the verb is used, and tables' when there is one to draw:
`jobctl submit` is called by scripts, a thousand times in a row.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from io import TextIOWrapper

from jobd.cli.arguments import (
    EXIT_OF_RUN,
    EXIT_TIMEOUT,
    EXIT_USAGE,
    Parser,
    UsageError,
    common_options,
    note,
    write_no_more,
)
from jobd.errors import (
    Conflict,
    DaemonUnavailable,
    InvalidParams,
    JobdError,
    NotFound,
    PeerFault,
    RequestError,
    Unauthorized,
)

EXIT_INTERRUPTED = 128 + 2
EXIT_BROKEN_PIPE = 128 + 13
EXIT_DAEMON = 7
EXITS = (
    (DaemonUnavailable, 3),
    (PeerFault, 3),
    (Unauthorized, 4),
    (NotFound, 5),
    (Conflict, 6),
    (RequestError, EXIT_DAEMON),
)

VERBS = {
    "submit": ("submitting", "hand in a job; prints its id"),
    "run": ("running", "hand in a job, show its output, exit as it did"),
    "status": ("looking", "all about a job"),
    "list": ("looking", "jobs, newest first"),
    "logs": ("output", "what a job has written"),
    "wait": ("looking", "until jobs have ended; 1 if one failed or was cancelled"),
    "cancel": ("steering", "end jobs; --force kills"),
    "retry": ("steering", "run jobs again that have ended"),
    "remove": ("steering", "forget jobs that have ended, and their output"),
    "events": ("looking", "what happens, as it happens"),
    "stats": ("looking", "how many jobs, how fast"),
    "top": ("top", "what runs now: its cost, its progress, its last words"),
    "progress": ("steering", "from inside a job: how much of it is done"),
    "ping": ("steering", "whether the daemon is there, and which"),
    "reload": ("steering", "have the daemon read its config again"),
    "drain": ("steering", "start nothing more, wait for what runs; --off ends it"),
    "upgrade": ("steering", "have the program that is installed by now take over; jobs go on"),
    "shutdown": ("steering", "stop the daemon; jobs go on"),
    "allow": ("allowing", "let a callable or a program be submitted"),
    "disallow": ("allowing", "no longer"),
}
LATER = (
    "why", "update", "pause", "resume", "schedules", "doctor", "dashboard",
)  # fmt: skip
OVERVIEW = "overview"


def main(argv: list[str] | None = None) -> int:
    """The exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    verb = ""
    _ready_to_write()
    try:
        leading, verb, rest = _split(arguments)
        if verb in ("--help", "--version"):
            print(_help() if verb == "--help" else _version(), flush=True)
            return 0
        code = _perform(verb, [*leading, *rest])
        sys.stdout.flush()
        return code
    except UsageError as error:
        note(str(error))
        return EXIT_OF_RUN if verb == "run" else EXIT_USAGE
    except JobdError as error:
        note(_told(error))
        return EXIT_OF_RUN if verb == "run" else exit_code(error)
    except TimeoutError as error:
        note(str(error))
        return EXIT_OF_RUN if verb == "run" else EXIT_TIMEOUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read has read enough
        write_no_more()
        return EXIT_BROKEN_PIPE
    except OSError as error:  # a full disk under standard output
        write_no_more()
        note(str(error))
        return EXIT_OF_RUN if verb == "run" else EXIT_USAGE


def _ready_to_write() -> None:
    """Also where standard output is closed, and in a locale that lacks a character."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # `>&-`; and the next file opened would be descriptor 1
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 to the end
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def exit_code(error: JobdError) -> int:
    return next((code for kind, code in EXITS if isinstance(error, kind)), EXIT_DAEMON)


def _perform(verb: str, arguments: list[str]) -> int:
    module = import_module(f"jobd.cli.{'looking' if verb == OVERVIEW else VERBS[verb][0]}")
    options, perform = module.VERBS[verb]
    parser = Parser(
        prog="jobctl" if verb == OVERVIEW else f"jobctl {verb}",
        description=None if verb == OVERVIEW else VERBS[verb][1],
        exit_code=EXIT_OF_RUN if verb == "run" else EXIT_USAGE,
    )
    common_options(parser)
    options(parser)
    asked = parser.parse(arguments)
    try:
        code: int = perform(asked)
    except RequestError as error:
        if "socket" not in error.data:
            error.data["socket"] = asked.where()
        raise
    finally:
        asked.close()
    return code


def _split(arguments: list[str]) -> tuple[list[str], str, list[str]]:
    """What stands before the verb, the verb, what follows it."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        if arguments[at] in ("-h", "--help"):
            return [], "--help", []
        if arguments[at] == "--version":
            return [], "--version", []
        if arguments[at].partition("=")[0] not in ("--json", "--socket"):
            raise UsageError(f"{arguments[at]} does not stand before a command; see --help")
        at += 2 if arguments[at] == "--socket" else 1
    if at >= len(arguments):
        return arguments, OVERVIEW, []
    verb = arguments[at]
    if verb in LATER:
        raise UsageError(f"`jobctl {verb}` comes in a later release")
    if verb not in VERBS:
        raise UsageError(f"no command is called {verb!r}; see jobctl --help")
    return arguments[:at], verb, arguments[at + 1 :]


def _told(error: JobdError) -> str:
    """What went wrong, where, and each bad field on a line of its own."""
    if not isinstance(error, RequestError):
        return str(error)
    where = f" (jobd on {error.data['socket']})" if "socket" in error.data else ""
    if isinstance(error, InvalidParams) and error.data.get("fields"):
        faults = [f"  {f['field']}: {f['message']}" for f in error.data["fields"]]
        return "\n".join([f"refused{where}:", *faults])
    candidates = "".join(f"\n  {id}" for id in error.data.get("candidates", ()))
    hint = "\n  what may run: [allow] of its config, `jobctl allow --help`"
    return f"{error}{where}{candidates}{hint if isinstance(error, Unauthorized) else ''}"


def _version() -> str:
    from jobd import __version__

    return f"jobctl {__version__}"


def _help() -> str:
    verbs = "\n".join(f"  {verb:<10}{says}" for verb, (_, says) in VERBS.items())
    return f"""usage: jobctl [--socket PATH] [--json] COMMAND …

Alone, shows what runs, what waits and what failed last.

{verbs}

  --json         print the daemon's answer as JSON; before or after the command
  --socket PATH  else $JOBD_SOCKET, the user's own, the system's

Exit codes: 0 fine; 1 a job failed or was cancelled (`wait`); 2 wrong usage;
3 no daemon; 4 refused; 5 not found; 6 conflict; 7 any other error of the
daemon; 124 a --timeout of its own ran out.  `run` exits as the job did.

`jobctl COMMAND --help` tells more."""


if __name__ == "__main__":
    sys.exit(main())
