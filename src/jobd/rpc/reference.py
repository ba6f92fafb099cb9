"""The tables of docs/protocol.md, drawn from the code: `python -m jobd.rpc.reference`.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; the rest is left alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from jobd import errors
from jobd.core.fields import FIELDS, LIMITS, Field
from jobd.errors import RequestError
from jobd.rpc import connection, jsonrpc, transport
from jobd.rpc.documents import EVENT_TYPES
from jobd.rpc.methods import COMING, METHODS, Method
from jobd.rpc.params import CHUNK_MAX, MANY_MAX, PAGE_MAX, Says

DEFAULT_PATH: Final = "docs/protocol.md"

_TABLE: Final = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(text: str) -> str:
    """`text` with its tables as they ought to be.  KeyError: a table that is not known."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", text)


def main(path: str = DEFAULT_PATH) -> None:
    with open(path, encoding="utf-8") as file:
        text = rendered(file.read())
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _methods() -> str:
    rows = [
        (f"`{name}`", _parameters(method), method.result, method.says)
        for name, method in METHODS.items()
    ]
    return _table(("method", "parameters", "result", "what it does"), rows)


def _parameters(method: Method) -> str:
    if method.params is None:
        return "the fields of a job"
    fields = method.params.model_fields.items()
    return ", ".join(f"`{name}`" if f.is_required() else f"`{name}?`" for name, f in fields)


def _params() -> str:
    rows: list[tuple[str, ...]] = []
    for name, method in METHODS.items():
        fields = {} if method.params is None else method.params.model_fields
        for field, info in fields.items():
            says = next(mark for mark in info.metadata if isinstance(mark, Says))
            default = "required" if info.is_required() else _json(info.default)
            rows.append((f"`{name}`", f"`{field}`", says.type, default, says.text))
    return _table(("method", "parameter", "type", "default", "meaning"), rows)


def _coming() -> str:
    return ", ".join(f"`{name}`" for name in COMING)


def _fields() -> str:
    rows = [
        (
            f"`{name}`", _type(field), _bounds(field), _default(name, field),
            "yes" if field.policy else "", field.says,
        )
        for name, field in FIELDS.items()
        if not field.later
    ]  # fmt: skip
    return _table(("field", "type", "bounds", "default", "policy", "meaning"), rows)


def _of_limits() -> str:
    rows = [
        (f"`{name}`", _type(field), _bounds(field), field.says) for name, field in LIMITS.items()
    ]
    return _table(("limit", "type", "bounds", "meaning"), rows)


def _later_fields() -> str:
    return ", ".join(f"`{name}`" for name, field in FIELDS.items() if field.later)


def _type(field: Field) -> str:
    words = {
        "strings": "array of strings", "string_map": "object of strings",
        "instant": "RFC 3339 with offset", "backoff": "string, array of numbers, s",
        "codes": "array of integers", "ends": "array of integers and strings", "limits": "object",
    }  # fmt: skip
    unit = f", {field.unit}" if field.unit else ""
    return words.get(field.shape, field.shape) + unit + ("; null" if field.nullable else "")


def _bounds(field: Field) -> str:
    said = [
        ("≥ {:g}", field.at_least), ("> {:g}", field.above), ("≤ {:,.0f}", field.at_most),
        ("≤ {} characters", field.length_max), ("≤ {} items", field.items_max),
    ]  # fmt: skip
    bounds = [form.format(value) for form, value in said if value is not None]
    if field.pattern is not None:
        bounds.append(f"`{field.pattern_shown.strip('^$')}`")
    if 0 < len(field.choices) < 10:
        bounds.append(" ".join(f"`{choice}`" for choice in field.choices))
    return ", ".join(bounds)


def _default(name: str, field: Field) -> str:
    return "" if name in _NO_DEFAULT else _json(field.default)


_NO_DEFAULT: Final = frozenset({"target", "method", "command", "run_at"})


def _errors() -> str:
    rows = [(str(error.code), f"`{error.type}`", text) for error, text in _WHEN.items()]
    return _table(("code", "`data.type`", "when"), rows)


_WHEN: Final[Mapping[type[RequestError], str]] = {
    errors.ParseError: "the line is no JSON as it is taken here; `id` is null",
    errors.InvalidRequest: "it is JSON, but no request; or the line or the batch is too long",
    errors.MethodNotFound: "no such method, or one that comes in a later release",
    errors.InvalidParams: "wrong parameters; `data.fields`: `[{field, message}, …]`, each bad one",
    errors.InternalError: "a bug of jobd's; its log has more",
    errors.Unauthorized: "the allow-list refuses the job",
    errors.NotFound: "no such job, attempt or subscription; ambiguous prefix (`data.candidates`)",
    errors.Conflict: "the job's status does not allow it (`data.status`); `request_id` or stream id"
    " taken",
    errors.QueueFull: "`daemon.max_pending` jobs wait already; nothing was stored",
    errors.Draining: "the daemon is stopping; ask again, under the same `request_id`",
    errors.StorageError: "no room, or the journal can't be written; nothing was acknowledged",
}


def _events() -> str:
    rows = [(f"`{name}`", *_EVENTS[name]) for name in EVENT_TYPES.values()]
    return _table(("`type`", "when", "has also"), rows)


_EVENTS: Final = {
    "submitted": ("a job was stored", "`run_at`"),
    "started": ("an attempt begins", ""),
    "stop_requested": (
        "the attempt was told to stop", "`why`: `cancelled`, `timeout`, `idle`, `shutdown`",
    ),
    "kill_requested": ("the attempt is killed", ""),
    "never_ran": ("recorded as started, but nothing was; the job is ready again", ""),
    "completed": ("", ""),
    "retried": ("an attempt failed, and there will be another", "`run_at`, `failure`"),
    "interrupted": (
        "an attempt ended without its own doing, and there will be another", "`run_at`, `failure`",
    ),
    "failed": ("", "`failure`"),
    "cancelled": ("", ""),
    "retry_requested": ("a final job is to run again", "`run_at`"),
    "removed": ("the job was forgotten; `status` is null", ""),
}  # fmt: skip


def _limits() -> str:
    rows: list[tuple[str, int | str]] = [
        ("bytes of a line", "`daemon.max_request_bytes`"),
        ("levels of nesting", jsonrpc.NESTING_MAX),
        ("requests in a batch", jsonrpc.BATCH_MAX),
        ("requests in flight on a connection", connection.IN_FLIGHT_MAX),
        ("waits and streams on a connection", connection.PATIENT_MAX),
        ("bytes unsent on a connection", connection.UNSENT_MAX),
        ("connections", transport.CONNECTIONS_MAX),
        ("jobs in a `submit_many`, ids in a `wait`", MANY_MAX),
        ("jobs on a page of `list`", PAGE_MAX),
        ("bytes of one piece of output", CHUNK_MAX),
    ]
    return _table(("of", "at most"), [(what, _amount(most)) for what, most in rows])


def _amount(most: int | str) -> str:
    return most if isinstance(most, str) else f"{most:,}"


def _json(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return f"`{jsonrpc.encoded(plain)}`"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "methods": _methods,
    "params": _params,
    "coming": _coming,
    "fields": _fields,
    "of_limits": _of_limits,
    "later_fields": _later_fields,
    "errors": _errors,
    "events": _events,
    "limits": _limits,
}


if __name__ == "__main__":
    main(*sys.argv[1:])
