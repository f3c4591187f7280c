"""The jobs of the benchmark, what matters most first, and how its time is divided among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """A process of its own.

    Attributes:
        part: What it belongs to, as chosen with `--only`.
        name: One contender of `peers`; empty elsewhere.
        share: Of the time, against the shares of those behind it.
        least_s: Time without which it is not begun.
        is_hidden: For tests; runs only where it is asked for.
        is_dry: Part of a dry run. Those that are not do there what others do.
    """

    part: str
    name: str
    share: float
    least_s: float
    is_hidden: bool = False
    is_dry: bool = True

    @property
    def key(self) -> str:
        """As it is asked for and shown."""
        return f"{self.part}/{self.name}" if self.name else self.part


_NEXT_TO_NOTHING = 0.01
"""The share of those that get what the others leave."""
_DRY_MOST_S, _DRY_LEAST_S = 45.0, 2.0
"""What takes long in a dry run is not what takes long on a GPU: nobody has a share there."""

JOBS = (
    Job("broken", "", 1, 1, is_hidden=True),
    Job("stuck", "", 1, 1, is_hidden=True),
    Job("machine", "", 15, 12),
    Job("steps", "", 85, 45),
    Job("idle", "", 70, 45),
    Job("peers", "C", 95, 60),
    Job("peers", "D", 65, 45),
    Job("kernels", "", 35, 20),
    Job("http", "", 140, 100),
    Job("peers", "D-continuous", _NEXT_TO_NOTHING, 45, is_dry=False),
    Job("peers", "D-nograph", _NEXT_TO_NOTHING, 45, is_dry=False),
    Job("peers", "D-varlen", _NEXT_TO_NOTHING, 45),
    Job("peers", "D-compile", _NEXT_TO_NOTHING, 90, is_dry=False),
    Job("peers", "A", _NEXT_TO_NOTHING, 45),
    Job("peers", "B", _NEXT_TO_NOTHING, 45),
)
PARTS = tuple(dict.fromkeys(job.part for job in JOBS if not job.is_hidden))


def chosen_jobs(only: Sequence[str], *, is_dry: bool) -> list[Job]:
    """Those of the parts, or the jobs by their keys (`peers/C`); all that are not hidden if none is named.

    Raises:
        ValueError: there is no such part.
    """
    known = {name for job in JOBS for name in (job.part, job.key)}
    if unknown := [name for name in only if name not in known]:
        raise ValueError(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    jobs = [job for job in JOBS if job.is_dry or not is_dry or job.key in only]
    return [job for job in jobs if (job.part in only or job.key in only if only else not job.is_hidden)]


def budget_s(jobs: Sequence[Job], left_s: float, *, is_dry: bool) -> float:
    """Seconds for the first of these; 0 if that is too little for it. What it leaves goes to those behind it."""
    first = jobs[0]
    if is_dry:
        least_s, share_s = _DRY_LEAST_S, _DRY_MOST_S
    else:
        least_s, share_s = first.least_s, left_s * first.share / sum(job.share for job in jobs)
    given_s = min(max(share_s, least_s), left_s)
    return given_s if given_s >= least_s else 0.0
