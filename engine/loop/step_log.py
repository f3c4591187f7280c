"""What each step did and when: the engine's own record, to be joined with what clients saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from ..errors import ConfigurationError
from ..session import ParkEvent


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

    step: int
    planned_s: float
    launched_s: float
    device_start_s: float
    device_end_s: float
    collected_s: float
    committed_s: float
    num_decode_tokens: int
    num_prefill_tokens: int
    num_seqs: int
    num_waiting: int
    num_preempted: int
    num_blocks_held: int
    num_blocks_pinned: int = 0
    parking: list[ParkEvent] = []
    gap_s: float = 0.0


OnStep = Callable[[StepRecord], None]


class StepLog:
    """Appends step records to a file, one JSON object a line. Call `add` for each step, then `close`."""

    def __init__(self, path: Path) -> None:
        """Create the file.

        Raises:
            ConfigurationError: it exists already, or cannot be made.
        """
        self._path = path
        try:
            self._file = path.open("xb")
        except FileExistsError:
            raise ConfigurationError(f"--step-log {path} exists already; name a new file") from None
        except OSError as error:
            raise ConfigurationError(f"cannot write --step-log {path}: {error.strerror}") from error
        self._encoder = msgspec.json.Encoder()

    def add(self, record: StepRecord) -> None:
        """Append a record. It is on disk when the log is closed, or some 8 KiB later."""
        self._file.write(self._encoder.encode(record) + b"\n")

    def close(self) -> None:
        """Write what is left."""
        self._file.close()

    def discard(self) -> None:
        """Leave no file behind: there will be no steps."""
        self.close()
        self._path.unlink(missing_ok=True)
