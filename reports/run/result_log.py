"""Results on disk, one per line: in one file, or in one for each sender process."""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...engine.errors import ConfigurationError
from ...workloads.result import Result
from ...workloads.traffic_classes import ToldApart
from .line_file import read_lines

RESULTS = "results.jsonl"


def shard(worker: int) -> str:
    """Name of the file of a worker, counted from 1."""
    return f"results.{worker}.jsonl"


def read_results(folder: Path, torn: Counter[str] | None = None) -> Iterator[Result]:
    """The results of a run, one at a time; those of several processes merged by when they ended.

    `torn`: gets the number of lines left out (see `read_lines`).

    Raises:
        ConfigurationError: there are none, or a file is not one of results.
    """
    shards = _shards(folder)
    if not shards:
        raise ConfigurationError(f"{folder} has no results: the run never started, or they were not copied")
    results = heapq.merge(*(read_lines(path, Result, torn) for path in shards), key=lambda result: result.end_s)
    return _told_apart(results)


def _told_apart(results: Iterable[Result]) -> Iterator[Result]:
    """A run of ours has no more classes than are told apart; one that others made may have one for each result."""
    classes = ToldApart()
    for result in results:
        result.traffic_class = classes.name(result.traffic_class)
        yield result


def has_results(folder: Path) -> bool:
    """Whether there are any to read."""
    return bool(_shards(folder))


def _shards(folder: Path) -> list[Path]:
    return [folder / RESULTS] if os.path.lexists(folder / RESULTS) else sorted(folder.glob("results.*.jsonl"))
