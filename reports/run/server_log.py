"""The server's metrics on disk, one sample per line; the file appears with the first sample."""

from __future__ import annotations

from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import msgspec

from ...workloads.watching.server_metrics import ServerSample
from .result_log import read_lines

SERVER = "server.jsonl"


class ServerLog:
    """Appends samples. Without any, there is no file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SERVER
        self._file: FileIO | None = None
        self._encoder = msgspec.json.Encoder()

    def add(self, sample: ServerSample) -> None:
        """Append one, unbuffered, like a result."""
        if self._file is None:
            self._file = self._path.open("wb", buffering=0)
        self._file.write(self._encoder.encode(sample) + b"\n")

    def close(self) -> None:
        """Append nothing more."""
        if self._file is not None:
            self._file.close()


def read_server_samples(folder: Path) -> Iterator[ServerSample]:
    """The samples of a run, in order; none where there is no file. A last line cut off by a crash is left out.

    Raises:
        ConfigurationError: any other line is damaged.
    """
    if (folder / SERVER).exists():
        yield from read_lines(folder / SERVER, ServerSample)
