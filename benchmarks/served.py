"""A daemon of its own to measure, a connection to it, and one way to tell a figure."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
TRUE = shutil.which("true") or "/bin/true"


class Daemon:
    """A daemon of its own in `home`, with two slots unless told otherwise."""

    def __init__(self, home: Path, *, max_running: int = 2, start: str = "exec") -> None:
        self.home = home
        self.config_path = home / "jobd.toml"
        self.socket = str(home / "run" / "jobd.sock")
        (home / "bench_jobs.py").write_text(
            "import time\ndef nothing():\n    pass\ndef now():\n    return time.time()\n"
        )
        self.config_path.write_text(
            f"[daemon]\nmax_running = {max_running}\nsocket = {self.socket!r}\n"
            f"state_dir = {str(home / 'state')!r}\n"
            f"[python]\npath = [{str(home)!r}]\nstart = {start!r}\n"
            f"[logging]\nparams = true\n"
            f'[allow]\ncommands = ["{TRUE}"]\n'
            '[allow.callables]\n"bench_jobs:*" = []\n'
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Seconds until it answers."""
        before = time.perf_counter()
        self.process = subprocess.Popen(
            [BIN / "jobd", "run", "--config", self.config_path], stderr=subprocess.DEVNULL
        )
        while True:
            try:
                connection = Connection(self.socket)
            except OSError:
                time.sleep(0.002)
                continue
            connection.call("ping", {})
            return time.perf_counter() - before

    def stop(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait()


class Connection:
    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rb")

    def call(self, method: str, params: dict[str, Any]) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self._lines.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]


@contextmanager
def daemon(start: str = "exec") -> Iterator[Daemon]:
    """`start` is how callables are."""
    with tempfile.TemporaryDirectory(prefix="jobd-bench-") as home:
        one = Daemon(Path(home), start=start)
        one.start()
        try:
            yield one
        finally:
            one.stop()


def tell(name: str, figure: str) -> None:
    print(f"  {name:<58} {figure}", flush=True)
