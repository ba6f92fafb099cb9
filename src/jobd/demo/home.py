"""A directory that has all of the demo in it: config, code, state, logs, socket."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from jobd.errors import CannotStart

SOCKET_PATH_MAX: Final = 100  # the kernel takes 107 bytes, 103 elsewhere
MAX_RUNNING: Final = 2


class Home:
    """Made with the first line, and only removed when told to."""

    def __init__(self) -> None:
        self.path = _directory()
        self.config = self.path / "jobd.toml"
        self.socket = self.path / "socket"
        self.state_dir = self.path / "state"
        self.log_dir = self.path / "logs"
        self.code = self.path / "code"
        self.archive = self.path / "archive" / "email.tar.gz"

    def furnish(self, program: str) -> None:
        """Code and config are there; `program` is the one that may run."""
        self.archive.parent.mkdir()
        self.code.mkdir()
        shutil.copy(Path(__file__).parent / "app" / "survey.py", self.code)
        self.config.write_text(self._config(program), encoding="utf-8")

    def remove(self) -> None:
        shutil.rmtree(self.path)

    def _config(self, program: str) -> str:
        # A JSON string is a TOML string too.
        said = {
            "socket": self.socket, "state": self.state_dir, "logs": self.log_dir,
            "code": self.code, "home": self.path, "program": program, "max_running": MAX_RUNNING,
        }  # fmt: skip
        return _CONFIG.format_map(
            {name: json.dumps(v if isinstance(v, int) else str(v)) for name, v in said.items()}
        )


def archiver() -> list[str]:
    """The command that packs, less what: a program of this machine, else the interpreter's own."""
    tar, gzip = shutil.which("tar"), shutil.which("gzip")
    if tar and gzip:  # it calls the other one
        return [os.path.abspath(tar), "--exclude=__pycache__", "-czf"]
    return [sys.executable, "-m", "tarfile", "-c"]


def _directory() -> Path:
    """Nobody else's to read.  Where $TMPDIR is too long for a socket: below /tmp."""
    try:
        path = tempfile.mkdtemp(prefix="jobd-demo-")
        if len(os.fsencode(path)) + len("/socket") > SOCKET_PATH_MAX:
            os.rmdir(path)
            path = tempfile.mkdtemp(prefix="jobd-demo-", dir="/tmp")
    except OSError as exc:
        raise CannotStart(f"no temporary directory for the demo: {exc}") from None
    return Path(path).resolve()


_CONFIG: Final = """\
# The config of `jobd demo`.  All that it reads and writes is below this directory.

[daemon]
socket = {socket}
state_dir = {state}
log_dir = {logs}
max_running = {max_running}       # whatever the machine has: jobs should queue up to be overtaken
on_stop = "stop"
shutdown_grace = 0

[allow]
commands = [{program}]

[allow.callables]
"survey:package" = []
"survey:modules" = []
"survey:check_archive" = []
"survey:Collatz" = ["search"]

[defaults]
timeout = "2m"                    # of each attempt: whatever happens, the demo comes to an end
kill_grace = 2

[python]
path = [{code}]
cwd = {home}

[env.set]
HOME = {home}
"""
