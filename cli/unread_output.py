"""Output that nobody reads any more, as behind `| head`: no error, and no reason to end before the work is done."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class _UntilUnread(io.FileIO):
    """A standard stream. What is written to a pipe whose reader has gone is dropped."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content) or 0
        except BrokenPipeError:
            return len(memoryview(content).cast("B"))


@contextmanager
def outliving_readers() -> Iterator[None]:
    """Within the context stdout and stderr take whatever is written, whether or not there is still a reader.

    Any other problem, such as a disk that is full, is still an `OSError`.
    """
    usual = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_lasting, usual)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        sys.stdout, sys.stderr = usual


def _lasting(stream: Any) -> Any:
    try:
        number = stream.fileno()
        stream.flush()
    except (AttributeError, OSError, ValueError):  # none, closed, or one of a test's own
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_UntilUnread(number, "wb", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
