"""The server's metrics on disk, one sample per line; the file appears with the first sample."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from ...workloads.watching.server_metrics import ServerSample
from .line_file import LineFile, read_lines

SERVER = "server.jsonl"


class ServerLog:
    """Appends samples. Without any, there is no file."""

    def __init__(self, folder: Path, on_problem: Callable[[str], None]) -> None:
        """`on_problem`: as of `LineFile`."""
        self._path = folder / SERVER
        self._file: LineFile | None = None
        self._on_problem = on_problem

    def add(self, sample: ServerSample) -> None:
        """Append one."""
        if self._file is None:
            try:
                self._file = LineFile(self._path, self._on_problem)
            except OSError as error:
                self._on_problem(str(error.strerror))
                return
        self._file.add(sample)

    def close(self) -> None:
        """Append nothing more."""
        if self._file is not None:
            self._file.close()


def read_server_samples(folder: Path, torn: Counter[str] | None = None) -> Iterator[ServerSample]:
    """The samples of a run, in order; none where there is no file.

    `torn`: gets the number of lines left out (see `read_lines`).

    Raises:
        ConfigurationError: the file is not one of samples.
    """
    if os.path.lexists(folder / SERVER):
        yield from read_lines(folder / SERVER, ServerSample, torn)
