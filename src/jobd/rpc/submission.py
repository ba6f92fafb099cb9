"""What a client submits, checked field by field, and made a command of the engine's.

The model is built from `core.fields.FIELDS`; what is added here is what a table cannot say.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Final

from pydantic import AfterValidator, PlainValidator, ValidationError, create_model

from jobd.core import ends, ids
from jobd.core.allow import Refused, colon_form
from jobd.core.commands import Submission
from jobd.core.fields import FIELDS, LIMITS, POLICY, Field, limit_fault
from jobd.errors import Unauthorized
from jobd.instants import parse_rfc3339
from jobd.rpc import faults
from jobd.rpc.backend import Backend
from jobd.rpc.faults import Faults, Params, fault
from jobd.rpc.jsonrpc import encoded
from jobd.rpc.transport import Peer

_POLICY: Final = frozenset(POLICY)
_OF_CALLABLES: Final = ("method", "args", "kwargs")


def bad_fields(backend: Backend, given: Any, *, where: str = "") -> Faults:
    """Every one; `where` goes before their names."""
    bad = _faults(given)
    if isinstance(given, dict):
        named = {field.partition(".")[0] for field, _ in bad}
        sound = {name: value for name, value in _policy_of(given).items() if name not in named}
        # Of the kind that it is: the policy is then the one that `submission` asks for again.
        bad += backend.limit_faults(sound, is_command="command" in given)
    return [(where + field, message) for field, message in bad]


def submission(
    backend: Backend, peer: Peer, given: Mapping[str, Any], *, where: str = ""
) -> Submission:
    """The command for fields that have no fault.  Raises Unauthorized, and has it logged."""
    call = _stored(given)
    verdict = backend.authorise(call)
    if isinstance(verdict, Refused):
        backend.refused(peer.name, call, verdict.why)
        raise Unauthorized(f"{where[:-1]}: {verdict.why}" if where else verdict.why)
    run_at, request_id = given.get("run_at"), given.get("request_id")
    return Submission(
        stem=ids.stem(peer.name, secrets.token_hex(16) if request_id is None else request_id),
        by=peer.name,
        call=encoded(call).encode(),
        policy=backend.policy(_policy_of(given), is_command="command" in given),
        run_at=None if run_at is None else parse_rfc3339(run_at),
        delay_s=float(given.get("delay", 0)),
    )


def _policy_of(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in _POLICY}


def _stored(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as given; target in colon form, and the method of a callable in place."""
    call = {name: value for name, value in given.items() if name != "request_id"}
    if "target" in call:
        call["target"] = colon_form(call["target"])
        name = call["target"].partition(":")[2]
        call.setdefault("method", "handle" if name[0].isupper() else None)
    return call


# Faults.


def _faults(given: Any) -> Faults:
    """Every bad field."""
    if not isinstance(given, dict):
        return [("params", "must be given by name, as an object")]
    bad = faults.unknown(given, FIELDS)
    try:
        _MODEL.model_validate(given)
    except ValidationError as exc:
        bad += faults.typed(exc)
    return bad + _limits_faults(given.get("limits")) + _contradictions(given)


def _limits_faults(limits: Any) -> Faults:
    """Each by a name of its own."""
    if not isinstance(limits, dict):
        return []
    known = [(name, limit_fault(name, limits[name])) for name in LIMITS if name in limits]
    bad = faults.unknown(limits, LIMITS) + [(name, why) for name, why in known if why is not None]
    return [(f"limits.{name}", message) for name, message in bad]


def _contradictions(given: Mapping[str, Any]) -> Faults:
    """Fields that are fine, but not together."""
    bad: Faults = []
    if ("target" in given) == ("command" in given):
        bad.append(("target", "exactly one of target and command must be given"))
    elif "command" in given:
        bad += [(name, "goes with target only") for name in _OF_CALLABLES if name in given]
    elif "success_codes" in given:
        bad.append(("success_codes", "goes with command only"))
    if "delay" in given and "run_at" in given:
        bad.append(("run_at", "excludes delay"))
    return bad


def _checked(name: str, field: Field, value: Any) -> Any:
    """After the type: bounds, and what is special about one field."""
    why = field.fault(value)
    if why is None and value is not None:
        why = _content_fault(field, value)
    if why is None and value is not None and name in _SPECIAL:
        why = _SPECIAL[name](value)
    if why is not None:
        raise fault(why)
    return value


def _content_fault(field: Field, value: Any) -> str | None:
    match field.shape:
        case "string" | "instant":
            return _text_fault(field, value)
        case "strings":
            if not all(isinstance(text, str) for text in value):
                return "must be an array of strings"
            if len(value) < field.length_min:
                return "must not be empty"
            return next(filter(None, (_text_fault(field, text) for text in value)), None)
        case "string_map":
            if not all(isinstance(text, str) for text in value.values()):
                return "must be an object of strings"
            return next(filter(None, (_text_fault(field, text) for text in value.values())), None)
        case _:
            return None


def _text_fault(field: Field, text: str) -> str | None:
    if "\0" in text:
        return "must not contain NUL"
    if field.length_max is not None and len(text) > field.length_max:
        return f"must have at most {field.length_max} characters"
    return None


def _target_fault(target: str) -> str | None:
    module, colon, name = colon_form(target).partition(":")
    if not colon or not all(part.isidentifier() for part in module.split(".")):
        return "must be package.module:Name"
    return None if name.isidentifier() else "must have one identifier after the colon"


def _method_fault(method: str) -> str | None:
    return None if method.isidentifier() else "must be an identifier"


def _command_fault(command: list[str]) -> str | None:
    program = command[0]
    if not program:
        return "must begin with a program"
    if os.path.dirname(program) and not os.path.isabs(program):
        return "the program must be an absolute path, or a bare name"
    return None


def _env_fault(env: Mapping[str, str]) -> str | None:
    for name in env:
        if not name or "=" in name or "\0" in name:
            return f"{name[:64]!a} can't be the name of a variable"
    return None


def _cwd_fault(cwd: str) -> str | None:
    return None if os.path.isabs(cwd) else "must be an absolute path"


def _ends_fault(named: list[Any]) -> str | None:
    return next(filter(None, map(ends.fault, named)), None)


def _run_at_fault(text: str) -> str | None:
    try:
        parse_rfc3339(text)
    except ValueError as exc:
        return str(exc)
    return None


_SPECIAL: Final[Mapping[str, Callable[[Any], str | None]]] = {
    "target": _target_fault,
    "method": _method_fault,
    "command": _command_fault,
    "env": _env_fault,
    "cwd": _cwd_fault,
    "run_at": _run_at_fault,
    "no_retry_on": _ends_fault,
}


# The model.

_TYPES: Final[Mapping[str, Any]] = {
    "string": str,
    "strings": list[Any],  # the elements are ours: a million bad ones are one fault
    "integer": int,
    "number": float,
    "array": list[Any],
    "object": dict[str, Any],
    "instant": str,
    "string_map": dict[str, Any],
    "codes": list[Any],
    "ends": list[Any],
    "limits": dict[str, Any],
}


def _backoff(field: Field, value: Any) -> Any:
    numbers = isinstance(value, list) and all(type(wait) in {int, float} for wait in value)
    if not numbers and not isinstance(value, str):
        raise fault(f"must be one of {', '.join(field.choices)}, or an array of numbers")
    return _checked("backoff", field, value)


def _later(_: Any) -> Any:
    raise fault(faults.LATER)


def _annotation(name: str, field: Field) -> Any:
    if field.later:
        return Annotated[Any, PlainValidator(_later)]
    if field.shape == "backoff":
        return Annotated[Any, PlainValidator(partial(_backoff, field))]
    kind = _TYPES[field.shape]
    if field.shape == "limits":
        return kind
    check = AfterValidator(partial(_checked, name, field))
    return Annotated[kind | None if field.nullable else kind, check]


def _build() -> type[Params]:
    shapes: dict[str, Any] = {n: (_annotation(n, f), None) for n, f in FIELDS.items()}
    return create_model("SubmissionModel", __base__=Params, **shapes)


_MODEL: Final = _build()
