"""Parameters against a model: a value, or every bad field at once in the contract's words."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from jobd.errors import InvalidParams

Faults = list[tuple[str, str]]  # (field, message)

LISTED_MAX: Final = 100  # bad fields in one answer; a line of 8 MiB has room for a million
LATER: Final = "comes in a later release"


class Params(BaseModel):
    """Types as they are: nothing is converted.  Unknown fields are `unknown`'s business."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


P = TypeVar("P", bound=Params)


def validated(model: type[P], params: dict[str, Any] | list[Any]) -> P:
    """Raises InvalidParams."""
    if isinstance(params, list):
        if params:
            raise InvalidParams.of([("params", "must be given by name, as an object")])
        params = {}
    faults = unknown(params, model.model_fields)
    try:
        value = model.model_validate(params)
    except ValidationError as exc:
        faults += typed(exc)
        raise refusal(faults) from None
    if faults:
        raise refusal(faults)
    return value


def unknown(params: Mapping[str, Any], known: Collection[str]) -> Faults:
    faults: Faults = []
    for name in params:
        if name not in known:
            if len(faults) >= LISTED_MAX:
                break
            faults.append((name[:64], "unknown field" + _nearest(name, known)))
    return faults


def typed(exc: ValidationError) -> Faults:
    errors = exc.errors(include_url=False)
    return [(".".join(map(str, error["loc"])), _message(error)) for error in errors]


def fault(message: str) -> PydanticCustomError:
    """To be raised by a validator."""
    return PydanticCustomError("fault", "{message}", {"message": message})


def refusal(faults: Faults) -> InvalidParams:
    """Of at least one fault."""
    more = len(faults) - LISTED_MAX
    if more > 0:
        faults = [*faults[:LISTED_MAX], ("…", f"and {more} more")]
    return InvalidParams.of(faults)


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name[:64], known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _message(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "fault":
        return error["msg"]
    if kind == "missing":
        return "is required"
    if error["input"] is None:
        return "must not be null"
    return _MESSAGES[kind].format(**context)


# A kind that is missing here is a bug of the model's; a test provokes each of them.
_MESSAGES: Final = {
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "literal_error": "must be one of {expected}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
}
