"""What `abatch calibrate` found, kept in the user's cache for later runs of the same client on the same machine."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from ...workloads.regular_file import read_regular
from ..atomic_file import write_atomically
from ..run.config import provenance
from ..run.line_file import UNREADABLE
from ..summary.client import ClientFloor
from ..text import encoded_json
from .calibration import Point

_SCHEMA_VERSION = 1
_MOST_BYTES = 4 * 2**20
"""A calibration takes a few kilobytes."""
_SAME = ("abatch", "python", "aiohttp", "cpu", "cpu_count")
"""What a client's speed depends on. Where one of these is another, a calibration says nothing."""


class Calibration(msgspec.Struct, kw_only=True):
    """The client at the highest rate at which it can be trusted. `limit` is what ended the search for it."""

    calibrated_at: str
    provenance: dict[str, str]
    workers: int
    max_trusted_rate: float
    limit: str
    point: Point

    @property
    def floor(self) -> ClientFloor | None:
        """What runs keep of it; None if there was no server's log to compare with."""
        point = self.point
        if point.ttft is None or point.itl is None or point.e2e is None:
            return None
        return ClientFloor(
            added_ttft_p99_ms=point.ttft.p99_ms,
            added_itl_p99_ms=point.itl.p99_ms,
            added_e2e_p99_ms=point.e2e.p99_ms,
            max_trusted_rate=self.max_trusted_rate,
            calibrated_at=self.calibrated_at,
            workers=self.workers,
        )

    def is_of(self, machine: dict[str, str]) -> bool:
        """Whether it is of this client on this machine: both as in `provenance`."""
        return all(self.provenance.get(name) == machine.get(name) for name in _SAME)


class _File(msgspec.Struct, kw_only=True):
    """One calibration for each number of workers."""

    schema_version: int = _SCHEMA_VERSION
    calibrations: list[Calibration] = []


def calibration_path() -> Path:
    """`$XDG_CACHE_HOME/abatch/calibration.json`, by default under ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path is to be ignored, says the XDG specification.
    folder = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~")) / ".cache"
    return folder / "abatch" / "calibration.json"


def save_calibration(calibration: Calibration) -> Path:
    """Write it down, beside those with other numbers of workers. Those of another machine or version are forgotten.

    Raises:
        OSError: the cache cannot be written.
    """
    kept = [other for other in _read() if other.workers != calibration.workers and other.is_of(calibration.provenance)]
    file = _File(calibrations=sorted([*kept, calibration], key=lambda one: one.workers))
    path = calibration_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, encoded_json(file))
    return path


def known_floor(workers: int = 1) -> ClientFloor | None:
    """The floor of this client on this machine with this many workers; None if it was never measured.

    A cache that cannot be read counts as empty: it must not stop a run.
    """
    machine = provenance()
    found = (one.floor for one in _read() if one.workers == workers and one.is_of(machine))
    return next(found, None)


def _read() -> list[Calibration]:
    try:
        file = msgspec.json.decode(read_regular(calibration_path(), _MOST_BYTES), type=_File)
    except (OSError, *UNREADABLE):
        return []
    return file.calibrations if file.schema_version == _SCHEMA_VERSION else []
