"""`jobctl allow` and `disallow`: the daemon's config, edited with the caller's own rights."""

from __future__ import annotations

import os

from jobd.cli.allowlist import Entry
from jobd.cli.arguments import Asked, Parser, UsageError, note
from jobd.cli.replacing import locked, read, replace
from jobd.cli.steering import print_reloaded
from jobd.client.sync import Client
from jobd.errors import DaemonUnavailable, RequestError


def options(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "target", metavar="TARGET", help="module:Name, module:*, package.*, /a/program, /programs/*"
    )
    add("methods", nargs="*", metavar="METHOD", help="of a class; `*`: all of them")
    add("--config", metavar="FILE", help="else the one that the daemon has read")


def allow(asked: Asked) -> int:
    return _edit(asked, allowing=True)


def disallow(asked: Asked) -> int:
    return _edit(asked, allowing=False)


def _edit(asked: Asked, *, allowing: bool) -> int:
    entry = Entry(asked.target, asked.methods)
    client = asked.client()
    read_by_daemon = _config_of_daemon(client, needed=asked.config is None)
    with locked(asked.config or read_by_daemon) as path:
        before = read(path)
        after = entry.allowed(before) if allowing else entry.disallowed(before)
        if after != before:
            replace(path, after)
        said = note if asked.json else print
        said(f"{path}: {entry.shown(after)}")
        if not read_by_daemon or os.path.realpath(read_by_daemon) != path:
            note("no daemon that answers here has read that file; nothing was reloaded")
            return 0
        try:
            answer = client.reload()
        except RequestError:
            replace(path, before)
            note(f"{path} is as it was: the daemon refuses the change")
            raise
    if not asked.tell(answer):
        print_reloaded(answer)
    return 0


def _config_of_daemon(client: Client, *, needed: bool) -> str:
    """The path; empty where there is none, and that is all right."""
    try:
        path: str | None = client.ping()["config"]
    except DaemonUnavailable:
        if needed:
            raise
        return ""
    if path is None and needed:
        raise UsageError(
            f"jobd on {client.socket} runs without a config: make one with `jobd init`, start"
            " it again, or name a file with --config"
        )
    return path or ""


VERBS = {"allow": (options, allow), "disallow": (options, disallow)}
