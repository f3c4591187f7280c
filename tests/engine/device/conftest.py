"""Fixtures for tests of steps on a device."""

from __future__ import annotations

import pytest
from abatch.engine.device import step_shapes


@pytest.fixture
def few_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded steps have room for 4 chunks of prompts, not for 64.

    The interpreter runs a kernel for every idle tile too, and those would be most of what it runs.
    """
    monkeypatch.setattr(step_shapes, "_MOST_CHUNKS", 4)
