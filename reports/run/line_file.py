"""Lines of JSON on disk: appended whole, and read back without those that were torn."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from ...engine.errors import ConfigurationError
from ...engine.loop.step_log import StepRecord
from ...workloads.regular_file import open_regular
from ...workloads.result import Result
from ...workloads.watching.server_metrics import ServerSample

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding a damaged file raises."""
LONGEST_LINE_BYTES = 16 * 2**20
"""Of a line to be read: a request of two million tokens, each with its gap."""

_Line = TypeVar("_Line", Result, StepRecord, ServerSample)


class LineFile:
    """Appends lines to a file of its own, until the disk takes no more."""

    def __init__(self, path: Path, on_problem: Callable[[str], None]) -> None:
        """Open it, empty. `on_problem` is called once, with the reason, when a line cannot be appended.

        Raises:
            OSError: it cannot be made, or a link stands there.
        """
        # Unbuffered: a line is on its way to disk as soon as it is appended, however this process ends.
        self._file = open(path, "wb", buffering=0, opener=_without_links)  # noqa: SIM115 - until `close`
        self._encoder = msgspec.json.Encoder()
        self._size = 0
        self._on_problem = on_problem
        self._has_problem = False

    def add(self, record: Result | ServerSample) -> None:
        """Append a record as a line. If the disk is full, the file ends with the line before it, now and later.

        Without the later ones: what comes after a gap would look like all there was.
        """
        if self._has_problem:
            return
        line = self._encoder.encode(record) + b"\n"
        try:
            written = self._file.write(line)
            while written < len(line):  # a disk that is almost full takes a part
                written += self._file.write(line[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            self._fail(error)
            return
        self._size += len(line)

    def close(self) -> None:
        """Append nothing more. What was appended is on disk then, and not only on its way there."""
        if self._file.closed:
            return
        try:
            with self._file:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        if not self._has_problem:
            self._has_problem = True
            self._on_problem(str(error.strerror))


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def read_lines(path: Path, kind: type[_Line], torn: Counter[str] | None = None) -> Iterator[_Line]:
    """The records of a file, one at a time.

    Lines that are no JSON are left out: a crash, a power cut or a full disk tears a line, and leaves zeros for one.

    Args:
        path: Of the file.
        kind: Of each record.
        torn: Gets the number of lines left out, by the name of the file, once all were read.

    Raises:
        ConfigurationError: it cannot be read, a line is too long, or one is JSON, but not of such a record: the file
            is not from a run.
    """
    decoder = msgspec.json.Decoder(kind)
    number = num_torn = 0
    try:
        with open_regular(path, follows_links=False) as file:
            while line := file.readline(LONGEST_LINE_BYTES + 1):
                number += 1
                if len(line) > LONGEST_LINE_BYTES and line.strip(b"\0"):
                    raise ConfigurationError(f"{path}, line {number} is longer than {LONGEST_LINE_BYTES >> 20} MiB")
                try:
                    record = decoder.decode(line)
                except msgspec.ValidationError as error:
                    raise ConfigurationError(f"{path}, line {number}: {error}") from error
                except UNREADABLE:
                    num_torn += 1
                    continue
                if isinstance(record, Result) and (problem := record.problem()):
                    raise ConfigurationError(f"{path}, line {number}: {problem}")
                yield record
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    if torn is not None and num_torn:
        torn[path.name] = num_torn
