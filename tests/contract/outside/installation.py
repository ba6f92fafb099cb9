"""A home with a config, state, logs and user code, and a daemon that can be started and killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple

import psutil
import tomlkit

import jobd
from jobd.keeper import cgroup
from outside.forks import Fork, Forks
from outside.gate import Gate
from outside.peer import LIMIT_S, Peer, Refused
from outside.waiting import until

SRC = str(Path(jobd.__file__).parents[1])


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def id(self) -> str:
        assert self.code == 0, self
        return self.out.strip()


class Installation:
    forks: ClassVar[Forks | None] = None  # else `jobd` is exec'd

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        # Not tmp_path: a Unix socket's path may have 107 bytes.
        self.home = Path(tempfile.mkdtemp(prefix="jobd-"))
        self.socket = self.home / "run" / "jobd.sock"
        self.state_dir = self.home / "state"
        self.log_dir = self.home / "logs"
        self.config_path = self.home / "jobd.toml"
        self.app = self.home / "app"
        self.app.mkdir()
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": SRC,
            "LANG": "C.UTF-8", "JOBD_SOCKET": str(self.socket), "TZ": "UTC",
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | Fork | None = None
        self.write_config(config or {})
        self._peer: Peer | None = None
        self._mine: list[Fork] = []

    # Config and code.

    def write_config(self, config: Mapping[str, Any]) -> None:
        """These keys, over a config that allows everything and places all below `home`."""
        whole = _merged(
            {
                "daemon": {
                    "socket": str(self.socket), "state_dir": str(self.state_dir),
                    "log_dir": str(self.log_dir), "max_running": 16,
                },
                "python": {"path": [str(self.app)]},
                "allow": {"commands": ["*"], "callables": {"jobs:*": ["*"]}},
            },
            config,
        )  # fmt: skip
        self.config_path.write_text(tomlkit.dumps(whole))

    def module(self, source: str, name: str = "jobs") -> None:
        path = self.app / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)

    # The daemon.

    def start(self, *options: str, env: Mapping[str, str] | None = None) -> Installation:
        """Returns when it serves."""
        self.spawn(*options, env=env)
        until(self._serves_or_ended)
        assert self.process is not None
        assert self.process.poll() is None, self.stderr
        return self

    def spawn(
        self, *options: str, env: Mapping[str, str] | None = None, under: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes] | Fork:
        """Without waiting."""
        self.forget_peer()
        arguments = ["run", "--config", str(self.config_path), *options]
        whole = {**self.env, **(env or {})}
        with open(self.home / "stderr", "wb") as stderr:
            if self.forks is not None and not under and self.forks.fit(whole):
                self.process = self._forked(
                    arguments, env=whole, cwd=self.home, streams=(stderr, stderr), session=True
                )
            else:
                self.process = subprocess.Popen(
                    [*under, *_JOBD, *arguments], env=whole, cwd=self.home,
                    stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, start_new_session=True,
                )  # fmt: skip
        return self.process

    def _serves_or_ended(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            return True
        try:
            self.call("ping")
        except (OSError, AssertionError):
            self.forget_peer()
            return False
        return True

    @property
    def stderr(self) -> str:
        return (self.home / "stderr").read_text()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """As `kill -9`."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.forget_peer()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        assert self.process is not None
        code = self.process.wait(LIMIT_S)
        self.forget_peer()
        return code

    def keeper(self, id: str) -> psutil.Process:
        """The process that launched a running job."""
        parent = psutil.Process(self.pid_of(id)).parent()
        assert parent is not None
        assert parent.pid != self.pid
        return parent

    # Requests.

    def peer(self) -> Peer:
        """A connection of its own."""
        return Peer(self.socket)

    def call(self, method: str, /, **params: Any) -> Any:
        if self._peer is None:
            self._peer = self.peer()
        return self._peer.call(method, **params)

    def refusal(self, method: str, /, **params: Any) -> Refused:
        try:
            result = self.call(method, **params)
        except Refused as refused:
            return refused
        raise AssertionError(f"{method} was not refused: {result}")

    def forget_peer(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def submit(self, **fields: Any) -> str:
        id: str = self.call("submit", **fields)["id"]
        return id

    def sh(self, script: str, *args: str, **fields: Any) -> str:
        """The id of a job that runs a shell script."""
        return self.submit(command=["/bin/sh", "-c", script, "sh", *args], **fields)

    def final(self, id: str) -> dict[str, Any]:
        """Its document when it has ended."""
        waited = self.call("wait", ids=[id], timeout=LIMIT_S)
        assert not waited["timed_out"], waited
        document: dict[str, Any] = waited["jobs"][0]
        return document

    def run(self, **fields: Any) -> dict[str, Any]:
        """The document of a job that has ended; without retries unless asked."""
        if "target" in fields:
            fields = {"retry_attempts": 0, **fields}
        return self.final(self.submit(**fields))

    def status(self, id: str) -> dict[str, Any]:
        document: dict[str, Any] = self.call("status", id=id)
        return document

    def until_status(self, id: str, *wanted: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            document = self.status(id)
            return document if document["status"] in wanted else None

        found = until(there)
        assert found is not None
        return found

    def pid_of(self, id: str) -> int:
        """Of the running attempt."""
        return until(lambda: self.until_status(id, "running")["attempts"][-1]["pid"])

    def out(self, id: str, stream: str = "stdout", **params: Any) -> str:
        data: str = self.call("logs", id=id, stream=stream, **params)["data"]
        return data

    # Files.

    def log(self, name: str = "background_jobs.log") -> list[str]:
        path = self.log_dir / name
        return path.read_text().splitlines() if path.exists() else []

    def log_of(self, id: str, name: str = "background_jobs.log") -> list[str]:
        return [line for line in self.log(name) if f'"id":"{id}"' in line]

    def gate(self) -> Gate:
        return Gate(Path(tempfile.mkdtemp(dir=self.home)) / "gate")

    def scratch(self, name: str = "file") -> Path:
        """A path that nothing is at."""
        return Path(tempfile.mkdtemp(dir=self.home)) / name

    # Commands.

    def jobctl(self, *arguments: str, **options: Any) -> Ran:
        return self._ran([*_JOBCTL, *arguments], **options)

    def jobd(self, *arguments: str, env: Mapping[str, str | None] | None = None) -> Ran:
        whole = self._over_usual(env)
        if self.forks is None or not self.forks.fit(whole):
            return self._ran([*_JOBD, *arguments], env=env)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            code = self._forked(arguments, env=whole, cwd=self.home, streams=(out, err)).wait(
                LIMIT_S
            )
            told = []
            for stream in (out, err):
                stream.seek(0)
                told.append(stream.read().decode())
        return Ran(code, *told)

    def _forked(
        self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path,
        streams: tuple[IO[bytes], IO[bytes]], session: bool = False,
    ) -> Fork:  # fmt: skip
        assert self.forks is not None
        with open(os.devnull, "rb") as nothing:
            fork = self.forks.start(
                "jobd.cli.jobd", arguments, env=env, cwd=cwd, session=session,
                stdin=nothing.fileno(), stdout=streams[0].fileno(), stderr=streams[1].fileno(),
            )  # fmt: skip
        self._mine.append(fork)
        return fork

    def _over_usual(self, env: Mapping[str, str | None] | None) -> dict[str, str]:
        """None takes a variable away."""
        whole = {**self.env, **(env or {})}
        return {name: value for name, value in whole.items() if value is not None}

    def jobctl_started(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Without waiting for its end; `communicate()` gives the rest."""
        return subprocess.Popen(
            [*_JOBCTL, *arguments], env={**self.env, **options.pop("env", {})}, cwd=self.home,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            **options,
        )  # fmt: skip

    def _ran(
        self, argv: list[str], *, input: str = "", env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> Ran:  # fmt: skip
        """`env`: over the usual one; None takes a variable away."""
        ended = subprocess.run(
            argv, input=input.encode(), capture_output=True, cwd=cwd or self.home, timeout=LIMIT_S,
            env=self._over_usual(env), check=False,
        )  # fmt: skip
        return Ran(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    # The end.

    def processes(self) -> list[int]:
        """Daemon, keeper and jobs: all whose environment or arguments name this home."""
        mark = str(self.home).encode()
        found = [fork.pid for fork in self._mine if fork.poll() is None]  # see Forks
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = Path("/proc", name, "environ").read_bytes()
                words += Path("/proc", name, "cmdline").read_bytes()
            except OSError:  # it has gone, or is another user's
                continue
            if mark in words and int(name) != os.getpid():
                found.append(int(name))
        return found

    def close(self) -> None:
        """No process of this installation outlives it, nor does a file."""
        self.forget_peer()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        until(self._killed)
        groups = cgroup.find(str(self.state_dir))  # a keeper that was killed has left its own
        if groups is not None:
            groups.close()
        shutil.rmtree(self.home)

    def _killed(self) -> bool:
        alive = self.processes()
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not alive


_JOBD = (sys.executable, "-P", "-m", "jobd.cli.jobd")
_JOBCTL = (sys.executable, "-P", "-m", "jobd.cli.jobctl")


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merge; what else is above wins, and None takes a key away."""
    whole = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(whole.get(key), Mapping):
            whole[key] = _merged(whole[key], value)
        elif value is None:
            whole.pop(key, None)
        else:
            whole[key] = value
    return whole
