"""What each step did and when: the engine's own record, to be joined with what clients saw."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from ..errors import ConfigurationError
from ..session import ParkEvent

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Time = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
"""A line of a log that says anything else is damaged."""


class StepRecord(msgspec.Struct, omit_defaults=True):
    """One step. Times are seconds of the engine's clock; clients on the same machine share it.

    Attributes:
        planned_s: When planning began. Which requests take part is decided right then.
        launched_s: When it was in the device's hands.
        device_start_s: When the device began; later than `launched_s` where it had a step to finish first.
        device_end_s: When the device was done.
        collected_s: When the host had the sampled tokens.
        committed_s: When they were part of their requests.
        num_seqs: Requests that took part.
        num_waiting: Requests left waiting when it was planned.
        num_preempted: Requests that were preempted to plan it.
        num_blocks_held: KV blocks held once it was planned.
        num_blocks_pinned: Those of them pinned for parked sessions.
        parking: What was decided about parked sessions since the step before.
        gap_s: How long the device had been idle since the step before, by its own clock.
    """

    step: _Count
    planned_s: _Time
    launched_s: _Time
    device_start_s: _Time
    device_end_s: _Time
    collected_s: _Time
    committed_s: _Time
    num_decode_tokens: _Count
    num_prefill_tokens: _Count
    num_seqs: _Count
    num_waiting: _Count
    num_preempted: _Count
    num_blocks_held: _Count
    num_blocks_pinned: _Count = 0
    parking: list[ParkEvent] = []
    gap_s: _Time = 0.0


_WRITTEN_BYTES = 8192
"""At once."""
_log = logging.getLogger(__name__)
OnStep = Callable[[StepRecord], None]


class StepLog:
    """Appends step records to a file, one JSON object a line. Call `add` for each step, then `close`.

    Where the disk is full the engine goes on: the log ends with a whole line, and that is said once.
    """

    def __init__(self, path: Path) -> None:
        """Create the file.

        Raises:
            ConfigurationError: it exists already, or cannot be made.
        """
        self._path = path
        try:
            self._file = path.open("xb", buffering=0)
        except FileExistsError:
            raise ConfigurationError(f"--step-log {path} exists already; name a new file") from None
        except OSError as error:
            raise ConfigurationError(f"cannot write --step-log {path}: {error.strerror}") from error
        self._encoder = msgspec.json.Encoder()
        self._pending = bytearray()
        self._size = 0
        self._is_full = False

    def add(self, record: StepRecord) -> None:
        """Append a record. It is on disk when the log is closed, or some 8 KiB later."""
        if self._is_full:
            return
        self._pending += self._encoder.encode(record) + b"\n"
        if len(self._pending) >= _WRITTEN_BYTES:
            self._write()

    def close(self) -> None:
        """Write what is left."""
        if not self._file.closed:
            self._write()
            self._file.close()

    def _write(self) -> None:
        """Write whole lines, or none."""
        try:
            written = 0
            while written < len(self._pending):
                written += self._file.write(self._pending[written:])
            self._size += written
        except OSError as error:
            self._is_full = True
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            _log.error("the step log %s ends here: %s", self._path, error.strerror)
        self._pending.clear()

    def discard(self) -> None:
        """Leave no file behind: there will be no steps."""
        self.close()
        self._path.unlink(missing_ok=True)
