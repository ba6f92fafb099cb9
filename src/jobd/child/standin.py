"""Lends the job a module `jobd` where its interpreter has none."""

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


def lend_jobd() -> None:
    if _LastResort not in sys.meta_path:
        sys.meta_path.append(_LastResort)
