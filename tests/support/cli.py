"""The command line, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def command(*arguments: str | Path) -> list[str]:
    """The words that start `abatch` with these arguments."""
    return [sys.executable, "-P", "-m", "abatch.cli", *map(str, arguments)]


def abatch(
    *arguments: str | Path, cwd: Path | None = None, timeout_s: float = 120.0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, 80 columns wide and without colour."""
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb", **variables}
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )
