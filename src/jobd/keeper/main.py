"""Starts the keeper: run by its path, in an interpreter that sees no environment and no site.

    python -I -S -X utf8 …/keeper/main.py LISTENER

LISTENER is the number of a listening socket that the daemon hands over.
"""

from __future__ import annotations

import os
import sys

assert sys.platform != "win32"

FLAGS = ("-I", "-S", "-X", "utf8")


def main(listener: str) -> None:
    _prepare()
    import socket

    from jobd.keeper.keeper import Keeper

    os.chdir("/")
    os.umask(0o022)  # the jobs' too, whatever the daemon was started with
    inherited = socket.socket(fileno=int(listener))
    inherited.set_inheritable(False)
    Keeper(inherited).run()


def _prepare() -> None:
    """What is so for good, and what children inherit."""
    from jobd import linux

    try:
        linux.set_child_subreaper()
        linux.default_reserved_signals()
    except OSError as exc:  # no such thing here: a job's group is then all that is reached
        sys.stderr.write(f"jobd keeper: orphans can't be followed: {exc}\n")


def _find_siblings() -> None:
    """`jobd` need not be importable here: its package is where this file is."""
    package = type(sys)("jobd")
    package.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.modules["jobd"] = package


if __name__ == "__main__":
    _find_siblings()
    main(*sys.argv[1:])
