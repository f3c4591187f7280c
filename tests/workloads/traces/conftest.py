"""Traces written by tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from abatch.workloads.session import Session
from abatch.workloads.traces.trace import Trace, open_trace

OpenText = Callable[..., Trace]
Sessions = Callable[..., list[Session]]


@pytest.fixture
def open_text(tmp_path: Path) -> OpenText:
    """Opens a trace of that text; rows that are not text are written as JSON."""

    def opened(*rows: Any, **options: Any) -> Trace:
        path = tmp_path / "sample.txt"
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        path.write_text("".join(f"{line}\n" for line in lines))
        return open_trace(path, **options)

    return opened


@pytest.fixture
def sessions(open_text: OpenText) -> Sessions:
    """The sessions of a trace of that text."""
    return lambda *rows, **options: list(open_text(*rows, **options).sessions())
