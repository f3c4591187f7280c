"""Results on disk, one per line: in one file, or in one for each sender process."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from ...engine.errors import ConfigurationError
from ...engine.loop.step_log import StepRecord
from ...workloads.result import Result
from ...workloads.watching.server_metrics import ServerSample

RESULTS = "results.jsonl"
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding a damaged file raises."""

_Line = TypeVar("_Line", Result, StepRecord, ServerSample)


def shard(worker: int) -> str:
    """Name of the file of a worker, counted from 1."""
    return f"results.{worker}.jsonl"


class ResultLog:
    """Appends results to a new file."""

    def __init__(self, path: Path) -> None:
        # Unbuffered: a result that ended is on its way to disk, however this process ends. One write each, no more.
        self._file = path.open("wb", buffering=0)
        self._encoder = msgspec.json.Encoder()

    def add(self, result: Result) -> None:
        """Append one."""
        self._file.write(self._encoder.encode(result) + b"\n")

    def close(self) -> None:
        """Append nothing more."""
        self._file.close()


def read_results(folder: Path) -> Iterator[Result]:
    """The results of a run, one at a time; those of several processes merged by when they ended.

    Raises:
        ConfigurationError: there are none, or a line is damaged (see `read_lines`).
    """
    shards = _shards(folder)
    if not shards:
        raise ConfigurationError(f"{folder} has no results: the run never started, or they were not copied")
    return heapq.merge(*(read_lines(path, Result) for path in shards), key=lambda result: result.end_s)


def has_results(folder: Path) -> bool:
    """Whether there are any to read."""
    return bool(_shards(folder))


def _shards(folder: Path) -> list[Path]:
    return [folder / RESULTS] if (folder / RESULTS).exists() else sorted(folder.glob("results.*.jsonl"))


def read_lines(path: Path, kind: type[_Line]) -> Iterator[_Line]:
    """The records of a file, one at a time. A last line that was cut off by a crash is left out.

    Raises:
        ConfigurationError: any other line is damaged.
    """
    decoder = msgspec.json.Decoder(kind)
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield decoder.decode(line)
                except UNREADABLE as error:
                    raise ConfigurationError(f"{path}, line {number}: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
