"""What delayed the load generator's own process during a run: what is kept of it."""

from __future__ import annotations

import heapq
from collections import Counter

import msgspec

MOST_LAPSES = 1000


class Lapse(msgspec.Struct, frozen=True, order=True, array_like=True):
    """The client's event loop was blocked: nothing was read or sent. Times are seconds since the run began."""

    length_s: float
    start_s: float


class ClientAudit(msgspec.Struct, kw_only=True):
    """What the client's process did over the measured part.

    Attributes:
        beats_us: How late the event loop woke, every 10 ms: the count of each value. Beats that became due while the
            loop was blocked count too.
        lapses: The longest beats above 5 ms, longest first.
        gc_pauses: Garbage collections, `gc_total_s` and `gc_longest_s` their time.
        cpu_s: Processor time used during `elapsed_s`.
        waited_s: How long the loop was ready meanwhile and had no processor; None where the kernel does not say.
    """

    beats_us: dict[int, int] = {}
    lapses: list[Lapse] = []
    gc_pauses: int = 0
    gc_total_s: float = 0.0
    gc_longest_s: float = 0.0
    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    waited_s: float | None = None

    @property
    def wait_share(self) -> float | None:
        """Of the time. A wait that began before it counts, too."""
        if self.waited_s is None or self.elapsed_s <= 0:
            return None
        return min(self.waited_s / self.elapsed_s, 1.0)


def merge_audits(audits: list[ClientAudit]) -> ClientAudit:
    """Merge the audits of several processes: beats add up, the busiest process gives the processor time, and the one
    that had to wait the most for it gives the wait.
    """
    beats: Counter[int] = Counter()
    for audit in audits:
        beats.update(audit.beats_us)
    waits = [share for audit in audits if (share := audit.wait_share) is not None]
    busiest = max(audits, key=lambda audit: audit.cpu_s / max(audit.elapsed_s, 1e-9))
    return ClientAudit(
        beats_us=dict(beats),
        lapses=heapq.nlargest(MOST_LAPSES, [lapse for audit in audits for lapse in audit.lapses]),
        gc_pauses=sum(audit.gc_pauses for audit in audits),
        gc_total_s=max(audit.gc_total_s for audit in audits),
        gc_longest_s=max(audit.gc_longest_s for audit in audits),
        cpu_s=busiest.cpu_s,
        elapsed_s=busiest.elapsed_s,
        waited_s=max(waits) * busiest.elapsed_s if waits else None,
    )
