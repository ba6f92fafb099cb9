from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from jobd.admission import Admission
from jobd.core.allow import AllowList


@pytest.fixture
def callables() -> AllowList:
    """A list with one of each kind of entry."""
    return AllowList(
        {
            "app.jobs:SendWelcomeEmail": ["handle"],
            "app.jobs:SendPasswordResetEmail": ["handle", "send_reset_link"],
            "app.jobs:rebuild_index": [],
            "app.jobs:_secretly_listed": ["_run"],
            "app.open:Anything": ["*"],
            "app.tools:*": ["*"],
            "app.functions:*": [],
            "app.services.*": ["*"],
        }
    )


@pytest.fixture
def place(tmp_path: Path) -> Callable[[str], Path]:
    """Makes an executable file below a temporary directory."""

    def make(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def admission() -> Callable[..., Admission]:
    def make(
        *commands: object, path: object = "/usr/bin:/bin", env: Sequence[str] = (),
        callables: Mapping[str, Sequence[str]] | None = None,
    ) -> Admission:  # fmt: skip
        return Admission(AllowList(callables, [str(c) for c in commands], env), str(path))

    return make
