"""The jobs of the benchmark, the calls that take them together, and how a call's time is divided among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """A process of its own.

    Attributes:
        key: What it is asked for by, with `--only`: a part, or `part/name`.
        share: Of the time, against the shares of those behind it: about the seconds it would like.
        least_s: Time without which it is not begun.
        is_hidden: For tests of the benchmark itself.
        is_dry: Can be run on a CPU with tiny shapes.
    """

    key: str
    share: float
    least_s: float
    is_hidden: bool = False
    is_dry: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    """What one call on a lent machine measures, what matters most first, and how long all of it may take."""

    seconds: float
    keys: tuple[str, ...]


JOBS = {
    job.key: job
    for job in (
        Job("smoke", 90, 50),
        Job("tests", 62, 35),
        Job("tests/memory", 36, 25),
        Job("machine", 12, 10),
        Job("steps", 47, 35),
        Job("kernels", 28, 18),
        Job("ours", 125, 80),
        Job("peers/C", 80, 55),
        Job("peers/D-compile", 80, 60, is_dry=False),
        Job("http", 95, 70),
        Job("steps/nofusion", 60, 35),
        Job("steps/nograph", 60, 35, is_dry=False),
        Job("steps/sdpa", 60, 35),
        Job("steps/compile", 90, 60, is_dry=False),
        Job("peers/A", 60, 45),
        Job("peers/B", 60, 45),
        Job("peers/D-continuous", 60, 45, is_dry=False),
        Job("peers/D-nofusion", 60, 45),
        Job("peers/D-nograph", 60, 45, is_dry=False),
        Job("peers/D-varlen", 60, 45),
        Job("broken", 1, 1, is_hidden=True),
        Job("stuck", 1, 1, is_hidden=True),
    )
}

CALLS = {
    1: Call(270, ("smoke", "tests", "tests/memory", "steps", "kernels")),
    2: Call(400, ("ours", "peers/C", "peers/D-compile", "http")),
}

_DRY_MOST_S, _DRY_LEAST_S = 45.0, 2.0
"""What takes long in a dry run is not what takes long on a GPU: nobody has a share there."""


def jobs_of_call(number: int, *, is_dry: bool) -> list[Job]:
    """In their order."""
    return [JOBS[key] for key in CALLS[number].keys if JOBS[key].is_dry or not is_dry]


def jobs_named(keys: Sequence[str]) -> list[Job]:
    """As they were asked for.

    Raises:
        ValueError: there is no such job.
    """
    if unknown := [key for key in keys if key not in JOBS]:
        known = ", ".join(job.key for job in JOBS.values() if not job.is_hidden)
        raise ValueError(f"there is no job {unknown[0]!r}; there are {known}")
    return [JOBS[key] for key in keys]


def budget_s(jobs: Sequence[Job], left_s: float, *, is_dry: bool) -> float:
    """Seconds for the first of these; 0 if that is too little for it. What it leaves goes to those behind it."""
    first = jobs[0]
    if is_dry:
        least_s, share_s = _DRY_LEAST_S, _DRY_MOST_S
    else:
        least_s, share_s = first.least_s, left_s * first.share / sum(job.share for job in jobs)
    given_s = min(max(share_s, least_s), left_s)
    return given_s if given_s >= least_s else 0.0
