"""What a call leaves behind: figures, a table and an archive of the rest, current whenever it is stopped."""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu.tables import table

FIGURES, TABLE, ARCHIVE = "figures.json", "table.txt", "details.tar.gz"
"""All that there is in the end: few files, and no folders."""

_LARGEST_FILE_BYTES = 4 << 20
"""Of the archive. What is larger is no log."""


class Report:
    """Figures of all jobs, and what became of each.

    Args:
        output: Where the files come to lie.
        work: What the jobs write themselves: logs, figures, runs.
        arguments: What was asked for.
        keys: The jobs there will be.
    """

    def __init__(self, output: Path, work: Path, arguments: dict[str, Any], keys: Sequence[str]) -> None:
        self._output = output
        self._work = work
        self.tree: dict[str, Any] = {
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
            "arguments": arguments,
            "jobs": {key: {"status": "not begun"} for key in keys},
            "parts": {},
        }

    @property
    def path(self) -> Path:
        """Of all figures, for jobs to look up."""
        return self._output / FIGURES

    def update(self, key: str, outcome: dict[str, Any], figures: Path | None = None) -> None:
        """Take in what became of a job, and what it has written so far."""
        self.tree["jobs"][key] = outcome
        if figures is not None:
            with contextlib.suppress(OSError, ValueError):
                _merge(self.tree["parts"], json.loads(figures.read_bytes()))
        self._write(FIGURES, json.dumps(self.tree, indent=1))
        self._write(TABLE, self.table() + "\n")

    def table(self) -> str:
        """As text."""
        return "\n".join(table(self.tree))

    def pack(self) -> None:
        """Put what the jobs have written themselves into the archive, but for models and whatever else is large."""
        new = self._output / f"{ARCHIVE}.new"
        with tarfile.open(new, "w:gz") as archive:
            for path in sorted(self._work.rglob("*")):
                with contextlib.suppress(OSError):  # of a process that was killed, something may still be clearing up
                    if path.is_file() and path.stat().st_size <= _LARGEST_FILE_BYTES:
                        archive.add(path, path.relative_to(self._work))
        os.replace(new, self._output / ARCHIVE)

    def _write(self, name: str, text: str) -> None:
        new = self._output / f"{name}.new"
        new.write_text(text)
        os.replace(new, self._output / name)


def _merge(tree: dict[str, Any], found: dict[str, Any]) -> None:
    """Several jobs may have figures of one part."""
    for key, value in found.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value
