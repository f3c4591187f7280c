"""Waiting for what is going to happen."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 150.0
"""However busy the machine is, what takes longer never comes. A limit for tests that would hang, never a measure."""


def wait_until(
    has_happened: Callable[[], object], otherwise: str | Callable[[], str], patience_s: float = PATIENCE_S
) -> None:
    """Return once it has happened; `otherwise` says what is wrong if it does not."""
    deadline_s = time.monotonic() + patience_s
    while not has_happened():
        assert time.monotonic() < deadline_s, otherwise if isinstance(otherwise, str) else otherwise()
        time.sleep(0.02)
