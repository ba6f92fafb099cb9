"""From the engine's `Launch` to the keeper's: everything a start needs, in one message."""

from __future__ import annotations

import json
import os
from typing import Any, Final

from jobd.core.decision import Launch
from jobd.keeper import protocol
from jobd.supervisor.settings import LaunchSettings

CHILD: Final = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "child", "main.py"
)

STREAMS: Final = ("stdout", "stderr")

# What a C library or an interpreter reads of its environment once, before any job's code runs: a
# fork of one that is warm would not heed it.
_HEEDED_AT_START: Final = ("LC_", "LD_", "DYLD_", "MALLOC_", "PYTHON", "OPENSSL_")
_HEEDED_AT_START_WHOLE: Final = frozenset({
    "GCONV_PATH", "GLIBC_TUNABLES", "LANG", "LANGUAGE", "LOCPATH", "NLSPATH", "TZDIR",
})  # fmt: skip


class OutputPlaces:
    """Where what attempts write is."""

    def __init__(self, log_dir: str) -> None:
        self.outputs = f"{os.path.abspath(log_dir)}/output"

    def job_outputs(self, id: str) -> str:
        """Spread over directories, since a million entries in one are slow to list."""
        return f"{self.outputs}/{id[:2]}/{id}"

    def output(self, id: str, attempt: int, stream: str) -> str:
        return f"{self.job_outputs(id)}/{attempt}.{stream}"

    def order(self, id: str, attempt: int) -> str:
        """Of the two streams, which of them went on when."""
        return f"{self.job_outputs(id)}/{attempt}.order"

    def streams(self, id: str, attempt: int) -> list[str]:
        return [self.output(id, attempt, stream) for stream in STREAMS]


class Places(OutputPlaces):
    """And where attempts have their own files, and jobs their home."""

    def __init__(self, state_dir: str, log_dir: str) -> None:
        super().__init__(log_dir)
        self.state_dir = os.path.abspath(state_dir)
        self.attempts = f"{self.state_dir}/attempts"
        # No attempt's, which has a number, and no job's, which begins with two characters.
        self.probe = {
            "directory": f"{self.attempts}/probe", "output": f"{self.outputs}/probe/stdout",
        }  # fmt: skip
        home = os.path.expanduser("~")
        self.home = home if os.path.isdir(home) else "/"

    def attempt(self, id: str, attempt: int) -> str:
        return f"{self.attempts}/{protocol.attempt_name(id, attempt)}"


def launch_message(effect: Launch, settings: LaunchSettings, places: Places) -> dict[str, Any]:
    """Nothing in it is secret to the job, and nothing of it but argv shows in a process list."""
    call: dict[str, Any] = json.loads(effect.call)
    directory = places.attempt(effect.id, effect.attempt)
    env = dict(settings.env)
    own = call.get("env") or {}
    runtime = None
    if effect.admitted.program is not None:
        argv, program, text = call["command"], effect.admitted.program, None
        cwd = effect.policy.cwd or places.home
    else:
        program = settings.python
        argv = [program, "-I", CHILD, directory]
        text = _call_text(call, effect, settings)
        cwd = effect.policy.cwd or settings.python_cwd or places.home
        env |= settings.python_env
        at_start = any(_heeded_at_start(name) and env.get(name) != own[name] for name in own)
        if settings.runtime is not None and not at_start:
            runtime = settings.runtime["key"]  # the keeper was told the rest before (`warm`)
    env |= own
    env[protocol.SOCKET_PATH] = settings.socket
    if effect.policy.stop_signal != "SIGTERM":
        env[protocol.STOP_SIGNAL] = effect.policy.stop_signal
    return {
        "request": "launch", "id": effect.id, "attempt": effect.attempt, "directory": directory,
        "program": program, "argv": argv, "env": env, "cwd": cwd, "call": text,
        "timeout": effect.policy.timeout, "stray": settings.stray, "probe": places.probe,
        "stdout": places.output(effect.id, effect.attempt, "stdout"),
        "stderr": places.output(effect.id, effect.attempt, "stderr"),
        "order": places.order(effect.id, effect.attempt), "output_max": settings.output_max,
        "limits": effect.policy.limits.given(), "runtime": runtime,
    }  # fmt: skip


def _heeded_at_start(name: str) -> bool:
    return name.startswith(_HEEDED_AT_START) or name in _HEEDED_AT_START_WHOLE


def _call_text(call: dict[str, Any], effect: Launch, settings: LaunchSettings) -> str:
    """For the child.  With `patterns` it must ask where the imported object really comes from."""
    admitted = effect.admitted
    return json.dumps({
        "target": call["target"],
        "method": call.get("method"),
        "args": call.get("args") or [],
        "kwargs": call.get("kwargs") or {},
        "path": list(settings.python_path),
        "patterns": None if admitted.exact else list(settings.patterns),
        "function_only": admitted.function_only,
    })  # fmt: skip
