"""Starts one process the way a job starts, and says how one ended."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys

assert sys.platform != "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOT_EXECUTABLE = 126
NOT_FOUND = 127
OOM_SCORE_MORE = 200  # thousandths of the machine's memory, as if the job had so much more
OOM_SCORE_MAX = 1000


class SpawnFailed(Exception):
    """`exit_code` is what a shell would end with; None where no program is to blame."""

    def __init__(self, message: str, exit_code: int | None) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


def spawn(
    program: str, argv: list[str], env: dict[str, str], *, cwd: str, stdout: int, stderr: int,
    passed: tuple[int, ...] = (), before_exec: Callable[[], None] | None = None,
) -> int:  # fmt: skip
    """The pid of a process in a session of its own: /dev/null (the keeper's own descriptor 0)
    as input, three descriptors and those passed, no signal blocked, ignored or caught.

    Raises SpawnFailed; and OSError if only something lacks, so that it may be tried again.

    This is vfork underneath.  `posix_spawn` is quicker by some 100 µs, but glibc's leaves
    signals 32 and 33 ignored in what it starts (docs/decisions/0002-keeper.md).  With
    `before_exec`, which runs in the child, it is a full fork: of a small process, without threads.
    """
    try:
        with _offering():
            process = subprocess.Popen(
                argv, executable=program, env=env, cwd=cwd, stdin=0, stdout=stdout, stderr=stderr,
                start_new_session=True, pass_fds=passed,
                preexec_fn=before_exec,  # noqa: PLW1509 there are no threads here
            )  # fmt: skip
    except subprocess.SubprocessError:  # all that it says of `before_exec`
        raise SpawnFailed(f"{program}: its limits can't be set here", None) from None
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


@contextlib.contextmanager
def _offering() -> Iterator[None]:
    """What is started inside is taken by the kernel before the keeper, if memory runs out.

    Set here and inherited, so that there is no moment without it; everybody may raise the score,
    and lower it to what it was.
    """
    try:
        file = open("/proc/self/oom_score_adj", "r+b", buffering=0)  # noqa: SIM115 see below
    except OSError:  # no such thing here
        yield
        return
    with file:
        own = int(file.read())
        file.write(b"%d" % min(own + OOM_SCORE_MORE, OOM_SCORE_MAX))
        try:
            yield
        finally:
            file.write(b"%d" % own)


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
