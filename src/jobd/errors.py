"""Every error jobd raises on purpose.

    JobdError
    ├── RequestError              the caller asked for something that must be refused
    │   ├── ParseError                -32700
    │   ├── InvalidRequest            -32600
    │   ├── MethodNotFound            -32601
    │   ├── InvalidParams             -32602, with every bad field
    │   ├── InternalError             -32603
    │   ├── Unauthorized              -32001
    │   ├── NotFound                  -32002
    │   ├── Conflict                  -32003
    │   ├── QueueFull                 -32004
    │   ├── Draining                  -32005
    │   └── StorageError              -32006
    ├── PeerFault                 the peer broke the rules of the wire: its connection closes
    ├── CannotStart               can't start or go on; `exit_code` says whether to try again
    │   ├── ConfigError               100: jobd.toml, with the key to mend
    │   ├── ForeignState              100: the state directory is not jobd's
    │   ├── JournalDamaged            100: a synced commit no longer reads back
    │   ├── SocketUnusable            100 or 111
    │   ├── LogUnusable               100 or 111
    │   ├── StateLocked               111: another daemon has this state directory
    │   └── JournalFailed             111: a write or a sync failed; memory is ahead of the disk
    ├── DaemonUnavailable         client: nobody answers on the socket
    │   └── ConnectionLost            client: somebody did; in `client.protocol`
    └── JobFailed                 client: the result of a job that is not completed

A RequestError is an answer, not an accident: it travels to the client, is rebuilt there as
the same class, and is never logged above INFO.  A bug is none of these: it is an
AssertionError or `IllegalTransition`, it is never caught by name, and it stops the daemon.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own is true to a type checker, and so is this one
if TYPE_CHECKING:  # importing `typing` takes a third of the time of `jobctl submit`'s own code
    from collections.abc import Sequence
    from typing import Any, ClassVar, Final

EXIT_USELESS: Final = 100  # starting again won't help before somebody changes something
EXIT_RETRY: Final = 111  # starting again may help


class JobdError(Exception):
    """Root of the tree above."""


class RequestError(JobdError):
    """A refusal.  `code` and `type` are part of the wire protocol; `data` is sent beside them."""

    code: ClassVar[int]
    type: ClassVar[str]

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class ParseError(RequestError):
    code, type = -32700, "parse_error"


class InvalidRequest(RequestError):
    code, type = -32600, "invalid_request"


class MethodNotFound(RequestError):
    code, type = -32601, "method_not_found"


class InvalidParams(RequestError):
    """`data["fields"]`: a list of `{field, message}`, one for every bad field."""

    code, type = -32602, "invalid_params"

    @classmethod
    def of(cls, fields: Sequence[tuple[str, str]]) -> InvalidParams:
        """From (field, message) pairs; at least one."""
        text = "; ".join(f"{field}: {message}" for field, message in fields)
        return cls(text, fields=[{"field": f, "message": m} for f, m in fields])


class InternalError(RequestError):
    code, type = -32603, "internal_error"


class Unauthorized(RequestError):
    code, type = -32001, "unauthorized"


class NotFound(RequestError):
    code, type = -32002, "not_found"


class Conflict(RequestError):
    code, type = -32003, "conflict"


class QueueFull(RequestError):
    code, type = -32004, "queue_full"


class Draining(RequestError):
    code, type = -32005, "draining"


class StorageError(RequestError):
    code, type = -32006, "storage"


REFUSALS: Final = {
    error.code: error
    for error in (
        ParseError, InvalidRequest, MethodNotFound, InvalidParams, InternalError, Unauthorized,
        NotFound, Conflict, QueueFull, Draining, StorageError,
    )
}  # fmt: skip


class PeerFault(JobdError):
    """Answered, where an answer is possible, and then the connection closes."""


class CannotStart(JobdError):
    """One line that says what to do.  `exit_code` is what the process ends with."""

    exit_code: int = EXIT_USELESS

    def __init__(self, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code


class ConfigError(CannotStart):
    """Names file, key and what is allowed.

    `faults`: (dotted key, what is wrong and what is allowed), one for each bad key; the key is
    empty where the file as a whole is at fault.
    """

    def __init__(self, path: str, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__(
            f"{path}: " + "; ".join(f"{key}: {fault}" if key else fault for key, fault in faults)
        )
        self.path, self.faults = path, tuple(faults)


class ForeignState(CannotStart):
    """Nothing in that directory was touched."""


class JournalDamaged(CannotStart):
    """Nothing was changed.  `line` counts from 1, `offset` is the byte where that line begins."""

    def __init__(self, path: str, line: int, offset: int, why: str) -> None:
        super().__init__(
            f"{path}:{line} (byte {offset}): {why}; nothing was changed, see `jobd journal verify`"
        )
        self.path, self.line, self.offset, self.why = path, line, offset, why


class SocketUnusable(CannotStart):
    pass


class LogUnusable(CannotStart):
    """What is no matter of rights or paths may mend itself."""

    def __init__(self, path: str, cause: OSError) -> None:
        lasting = (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError)
        super().__init__(
            f"{path}: can't be opened as a log: {cause.strerror}",
            exit_code=EXIT_USELESS if isinstance(cause, lasting) else EXIT_RETRY,
        )


class StateLocked(CannotStart):
    exit_code = EXIT_RETRY


class JournalFailed(CannotStart):
    exit_code = EXIT_RETRY


class DaemonUnavailable(JobdError):
    """`socket`: the path that was tried."""

    def __init__(self, message: str, *, socket: str) -> None:
        super().__init__(message)
        self.socket = socket


class JobFailed(JobdError):
    """`failure` as in the job document: `{kind, message, exit_code, signal, traceback}`."""

    def __init__(self, message: str, *, failure: dict[str, Any] | None) -> None:
        super().__init__(message)
        self.failure = failure
