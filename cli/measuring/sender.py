"""What sends a run's traffic: this process, or several others."""

from __future__ import annotations

from typing import Protocol

from ...workloads.load_generator import RunCounts, RunOutcome
from ...workloads.watching.client_audit import ClientAudit


class Sender(Protocol):
    """Sends all the traffic of a run."""

    @property
    def counts(self) -> RunCounts:
        """How far it has got."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""

    @property
    def num_skipped(self) -> int:
        """Malformed rows of the trace that were left out."""

    async def run(self, origin_s: float) -> RunOutcome:
        """Send, from `origin_s` of the loop's clock on; see `LoadGenerator.run`."""

    def stop(self) -> None:
        """End the run now."""

    def audit(self) -> ClientAudit | None:
        """What held up the sender; None in virtual time."""
