"""`jobd`: the daemon's own command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, get_args

from jobd import __version__
from jobd.cli import journal
from jobd.cli.arguments import write_no_more
from jobd.config import Config, load
from jobd.config.tables import Level
from jobd.errors import EXIT_RETRY, EXIT_USELESS, CannotStart
from jobd.paths import user_places


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 as asked, 100 starting again won't help, 111 it may."""
    args = _parse(list(sys.argv[1:] if argv is None else argv))
    command: Callable[[argparse.Namespace], int] = args.does
    try:
        return command(args) if command in (_run, _demo) else _told(command, args)
    except CannotStart as exc:
        print(f"jobd: {exc}", file=sys.stderr)
        return exc.exit_code


def _told(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Of a command that prints and is done: with what standard output has to say of it."""
    try:
        code = command(args)
        if sys.stdout is not None:  # as after `>&-`
            sys.stdout.flush()
    except OSError as exc:
        write_no_more()
        if isinstance(exc, BrokenPipeError):  # `| head` has seen enough
            return 0
        print(f"jobd: {exc}", file=sys.stderr)
        return EXIT_RETRY
    return code


def reference() -> str:
    """The commented jobd.toml.  In an installation beside the package, in a checkout on top."""
    package = Path(__file__).resolve().parent.parent
    for place in (package, package.parent.parent):
        if (place / "jobd.toml").is_file():
            return (place / "jobd.toml").read_text(encoding="utf-8")
    raise CannotStart("jobd.toml is missing from this installation: install jobd again")


def _run(args: argparse.Namespace) -> int:
    from jobd import handover
    from jobd.main import serve

    told = {"state_dir": args.state_dir, "socket": args.socket, "log_level": args.log_level}
    if args.rehearse is not None:
        handover.rehearse(load(args.config, **told), args.rehearse)
        return 0
    return serve(config_path=args.config, **told)


def _init(args: argparse.Namespace) -> int:
    """Writes a file where there is none; one that is there is never touched."""
    path = Path(args.config or user_places().config).absolute()
    text = reference()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # It may come to hold values of [env.set]: for nobody else to read.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CannotStart(f"{path} is there already; nothing was changed") from None
    except OSError as exc:
        raise CannotStart(f"{path} can't be written: {exc.strerror}") from None
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)
    print(f"wrote {path}")
    print("next: list what may run under [allow], then `jobd check`, then `jobd run`")
    return 0


def _check(args: argparse.Namespace) -> int:
    """Prints the config as it holds, as TOML."""
    import tomlkit

    config = _load(args)
    print(f"# {config.path}" if config.path else "# no config file: these are the defaults")
    print(tomlkit.dumps(config.resolved()), end="")
    return 0


def _demo(args: argparse.Namespace) -> int:
    from jobd.demo import main as demo

    if args.config or args.state_dir:
        raise CannotStart("the demo brings its own config, in a directory of its own")
    return demo()


def _journal(args: argparse.Namespace) -> int:
    return journal.run(args, _load(args))


def _service(_: argparse.Namespace) -> int:
    raise CannotStart("`jobd service` comes in a later release")


def _load(args: argparse.Namespace) -> Config:
    return load(args.config, state_dir=args.state_dir)


def _parse(argv: list[str]) -> argparse.Namespace:
    """`--config` and `--state-dir` are taken wherever they stand."""
    told, rest = _places(default=None).parse_known_args(argv)
    return _commands().parse_args(rest, told)


def _places(default: str | None) -> _Parser:
    places = _Parser(prog="jobd", add_help=False, allow_abbrev=False, argument_default=default)
    places.add_argument(
        "--config", type=Path, metavar="FILE", help="instead of $JOBD_CONFIG or the usual places"
    )
    places.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="instead of the config's state_dir"
    )
    return places


def _commands() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="jobd", allow_abbrev=False,
        description="A background-job daemon for one machine.  Jobs are submitted with jobctl.",
        epilog="Exit codes: 0 stopped as asked; 100 starting again won't help before somebody "
        "changes something; 111 it may.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"jobd {__version__}")
    # Told in the help of each command; without defaults, which would go over what was said before.
    places = _places(default=argparse.SUPPRESS)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def command(
        name: str, does: Callable[[argparse.Namespace], int], help: str, *,
        parents: Sequence[_Parser] = (places,),
    ) -> argparse.ArgumentParser:  # fmt: skip
        sub = commands.add_parser(
            name, help=help, description=help, parents=list(parents), allow_abbrev=False
        )
        sub.set_defaults(does=does)
        return sub

    run = command("run", _run, "Run the daemon, in the foreground.")
    run.add_argument("--socket", type=Path, default=None, metavar="PATH", help="listen here")
    run.add_argument("--log-level", choices=get_args(Level), default=None, help="of jobd.log")
    # Of a running daemon that is to become this one: would it?  See `handover`.
    run.add_argument("--rehearse", default=None, metavar="TERMS", help=argparse.SUPPRESS)
    command("init", _init, "Write a commented jobd.toml where there is none.")
    command("check", _check, "Validate the config and print it as it holds.")
    command("demo", _demo, "Show what jobd does, in a directory of its own.", parents=())
    look = command("journal", _journal, "Look into the journal of a stopped daemon.")
    journal.register(look, places)
    service = command("service", _service, "Install as a service (in a later release).")
    service.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


class _Parser(argparse.ArgumentParser):
    """Wrong usage is something that starting again won't help."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USELESS, f"{self.prog}: {message}\n")


if __name__ == "__main__":
    sys.exit(main())
