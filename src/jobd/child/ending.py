"""An exception as the result tells it: class names, message and traceback, each bounded, and
what the job asks for by it."""

from __future__ import annotations

import contextlib
import os
import sys

from . import standin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MESSAGE_MAX = 1024
TRACEBACK_MAX = 16 * 1024
MRO_MAX = 64
_HERE = os.path.dirname(os.path.abspath(__file__))
_GAP = "\n… cut …\n"


def described(exc: BaseException) -> dict[str, Any]:
    wish = _wish(exc)
    return {
        "type": class_name(type(exc)),
        "mro": [class_name(c) for c in type(exc).__mro__ if c is not object][:MRO_MAX],
        "message": excerpt(_message(exc), MESSAGE_MAX),
        "traceback": excerpt(_traceback(exc), TRACEBACK_MAX),
        **({} if wish is None else {"wish": wish}),
    }


def obeyed(exc: BaseException) -> int | None:
    """The signal that told the job to stop, if that is what it ends for."""
    if _is_jobds(exc, "Cancelled"):
        return getattr(exc, "signal", None)
    return None


def show(exc: BaseException) -> None:
    """On stderr, whole, as the interpreter would have; the job may have closed that."""
    text = _traceback(exc).encode("utf-8", "backslashreplace").decode("utf-8")
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(text)


def class_name(c: type) -> str:
    """`ValueError`, `app.errors.Permanent`"""
    return c.__qualname__ if c.__module__ == "builtins" else f"{c.__module__}.{c.__qualname__}"


def excerpt(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8: all of it, or its beginning and its end."""
    content = text.encode("utf-8", "backslashreplace")
    if len(content) <= limit:
        return content.decode("utf-8")
    half = (limit - len(_GAP.encode("utf-8"))) // 2
    head, tail = content[:half], content[-half:]
    return head.decode("utf-8", "ignore") + _GAP + tail.decode("utf-8", "ignore")


def _wish(exc: BaseException) -> dict[str, Any] | None:
    """What the job asks for by what it raised."""
    if _is_jobds(exc, "Retry"):
        return {"retry": getattr(exc, "after", None)}
    return {"fail": True} if _is_jobds(exc, "Fail") else None


def _is_jobds(exc: BaseException, name: str) -> bool:
    """Whether it is of that class, by whichever way the job has got it."""
    kind = getattr(standin.jobd_inside(), name, None)
    return isinstance(kind, type) and isinstance(exc, kind)


def _message(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception as inner:  # noqa: BLE001 the job's own __str__ may do anything
        return f"<its __str__ raised {type(inner).__name__}>"


def _traceback(exc: BaseException) -> str:
    import traceback

    frames = exc.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_HERE):
        frames = frames.tb_next
    try:
        return "".join(traceback.format_exception(type(exc), exc, frames))
    except Exception:  # noqa: BLE001 as above; and the chain may be deeper than the stack
        return f"{class_name(type(exc))}: {_message(exc)}\n"
