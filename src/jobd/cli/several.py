"""One call for each of several ids, side by side: a cancel takes as long as its job."""

from __future__ import annotations

import sys

from jobd.cli.arguments import Asked, note
from jobd.errors import DaemonUnavailable, JobdError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

AT_ONCE = 16  # connections


def for_each(asked: Asked, method: str, show: Callable[[Any], None], **params: Any) -> int:
    """Shows each answer in order.  One that is refused is told, and gives the exit code."""
    from jobd.cli.jobctl import exit_code

    client = asked.client()

    def call(id: str) -> Any:
        try:
            return client.call(method, {"id": id, **params})
        except DaemonUnavailable:
            raise
        except JobdError as error:
            return error

    code = 0
    for id, answer in zip(asked.ids, _answers(call, asked.ids), strict=True):
        if isinstance(answer, JobdError):
            if len(asked.ids) == 1:
                raise answer
            sys.stdout.flush()
            note(f"{id}: {answer} (jobd on {client.socket})")
            code = code or exit_code(answer)
        elif not asked.tell(answer):
            show(answer)
    return code


def _answers(call: Callable[[str], Any], ids: list[str]) -> Iterator[Any]:
    if len(ids) == 1:
        return iter([call(ids[0])])
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return iter(list(threads.map(call, ids)))
