"""Lends the job a module `jobd` where its interpreter has none, and knows which one it has."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CURRENT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "current.py")


class _LastResort:
    """A finder that is asked when no other one has found anything."""

    @staticmethod
    def find_spec(name: str, _path: Any = None, _target: Any = None) -> Any:
        if name != "jobd":
            return None
        from importlib.util import spec_from_file_location

        return spec_from_file_location(name, _CURRENT)


def jobd_inside() -> Any:
    """The module that has `Retry` and its like in this process; None: nobody has asked for it."""
    installed = sys.modules.get("jobd.current")
    if installed is not None:
        return installed
    lent = sys.modules.get("jobd")
    # A job's own module of that name has nothing to do with it.
    return lent if getattr(lent, "__file__", None) == _CURRENT else None


def lend_jobd() -> None:
    if _LastResort not in sys.meta_path:
        sys.meta_path.append(_LastResort)
