"""Starts one process the way a job starts, and says how one ended."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

assert sys.platform != "win32"

NOT_EXECUTABLE = 126
NOT_FOUND = 127


class SpawnFailed(Exception):
    """`exit_code` is what a shell would end with; None where no program is to blame."""

    def __init__(self, message: str, exit_code: int | None) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


def spawn(
    program: str, argv: list[str], env: dict[str, str], *, cwd: str, stdout: int, stderr: int,
    passed: tuple[int, ...] = (),
) -> int:  # fmt: skip
    """The pid of a process in a session of its own: /dev/null (the keeper's own descriptor 0)
    as input, three descriptors and those passed, no signal blocked, ignored or caught.

    Raises SpawnFailed; and OSError if only something lacks, so that it may be tried again.

    This is vfork underneath.  `posix_spawn` is quicker by some 100 µs, but glibc's leaves
    signals 32 and 33 ignored in what it starts (docs/decisions/0002-keeper.md).
    """
    try:
        process = subprocess.Popen(
            argv, executable=program, env=env, cwd=cwd, stdin=0, stdout=stdout, stderr=stderr,
            start_new_session=True, pass_fds=passed,
        )  # fmt: skip
    except OSError as exc:
        if exc.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
            raise
        if exc.filename == cwd and program != cwd:
            raise SpawnFailed(f"cwd {cwd}: {exc.strerror}", None) from None
        raise _failure(program, exc) from None
    except ValueError as exc:  # a NUL, or a `=` in a name: the edge has let it through
        raise SpawnFailed(f"{program}: {exc}", NOT_EXECUTABLE) from None
    process.returncode = 0  # reaped by number here, not by this object
    return process.pid


def probe() -> None:
    """OSError where no process can be made."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def default_signals() -> None:
    """What this process was started with ignored or blocked is no longer, nor in its children.

    But SIGPIPE and SIGXFSZ, which Python ignores and `spawn` gives back.
    """
    left_alone = {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}
    for number in signal.valid_signals() - left_alone:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _failure(program: str, exc: OSError) -> SpawnFailed:
    if exc.errno == errno.ENOENT and os.path.lexists(program):
        # The kernel says ENOENT for a missing `#!` interpreter (or loader), too.
        return SpawnFailed(f"{program}: its interpreter does not exist", NOT_EXECUTABLE)
    if exc.errno == errno.ENOEXEC:
        why = "neither an executable of this machine nor a script with a #! line"
        return SpawnFailed(f"{program}: {why}", NOT_EXECUTABLE)
    code = NOT_FOUND if exc.errno in (errno.ENOENT, errno.ENOTDIR) else NOT_EXECUTABLE
    return SpawnFailed(f"{program}: {exc.strerror}", code)


def exit_code(status: int) -> int | None:
    """Of a wait status; None: a signal ended it."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None


def exit_signal(status: int) -> str | None:
    """The name of the signal that ended it; `SIG40` where it has none."""
    if not os.WIFSIGNALED(status):
        return None
    number = os.WTERMSIG(status)
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def max_rss_bytes(ru_maxrss: int) -> int:
    return ru_maxrss if sys.platform == "darwin" else ru_maxrss * 1024
