"""Turns after pauses as points of a chart: how long each waited for its first token, and what the server had kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from random import Random

import msgspec

from ....engine.loop.step_log import StepRecord
from ....workloads.result import Result
from ...recording.pause_cost import PauseBand, PauseCosts
from ...recording.pauses import ContextTracker, is_later_turn
from ...statistics.reservoir import Reservoir
from .session_lines import shortened

_MOST_POINTS = 1000
RESTORED = "restored"
"""What our own engine did: the server's count of cached tokens does not tell it from `kept`."""
_SLACK_S = 0.05


class PausePoint(msgspec.Struct, array_like=True, gc=False):
    """A turn. `context`: kept, restored, partly, recomputed or unknown."""

    pause_s: float
    ttft_us: int
    context: str
    session: str
    number: int
    due_s: float
    prompt_tokens: int | None
    cached_tokens: int | None


class BandLine(msgspec.Struct, array_like=True, gc=False):
    """The percentiles of the turns after pauses of about one length."""

    from_s: float
    to_s: float | None
    p50_ms: float
    p99_ms: float | None


class PauseChart(msgspec.Struct, kw_only=True):
    """Points in order of the length of the pause; `num_turns`: how many there were in all."""

    num_turns: int
    points: list[PausePoint]
    bands: list[BandLine]


class PauseCollector:
    """Keeps a fair sample of the turns that follow at once or after a tool pause."""

    def __init__(self) -> None:
        self._tracker = ContextTracker()
        self._sample: Reservoir[PausePoint] = Reservoir(_MOST_POINTS, Random("points"))
        self._reports_hits = False
        self._returns: dict[str, list[float]] = {}
        """By session, as the engine knows it: when it returned and was restored."""

    def add(self, result: Result) -> None:
        """Take in a turn; those of a session come in order."""
        _, context = self._tracker.add(result)
        self._reports_hits = self._reports_hits or bool(result.cached_tokens)
        if is_later_turn(result):
            point = PausePoint(
                pause_s=round(result.pause_s, 3),
                ttft_us=max(result.ttft_us, 1),
                context=context or "",
                session=result.session_id,
                number=result.turn_index,
                due_s=round(result.due_s, 3),
                prompt_tokens=result.prompt_tokens,
                cached_tokens=result.cached_tokens,
            )
            self._sample.add(point)

    def watch(self, steps: Iterable[StepRecord], origin_s: float) -> Iterator[StepRecord]:
        """Pass the engine's steps on, all results being in; `origin_s`: when the run began, by the engine's clock."""
        wanted = {name for point in self._sample.kept for name in _names(point.session)}
        for step in steps:
            for event in step.parking:
                name = event.session_id.rpartition("/")[2]
                if event.action == RESTORED and name in wanted:
                    self._returns.setdefault(name, []).append(step.planned_s - origin_s)
            yield step

    def chart(self, costs: PauseCosts | None) -> PauseChart | None:
        """All that was taken in; None where no turn followed a pause."""
        if costs is None:
            return None
        points = sorted(self._sample.kept, key=lambda point: point.pause_s)
        silent = "recomputed" if self._reports_hits else "unknown"
        for point in points:
            was_restored = self._was_restored(point)
            point.session = shortened(point.session) or ""
            point.context = RESTORED if was_restored else point.context or silent
        return PauseChart(num_turns=self._sample.seen, points=points, bands=[_line(band) for band in costs.bands])

    def _was_restored(self, point: PausePoint) -> bool:
        first_s = point.due_s + point.ttft_us / 1e6
        return any(
            point.due_s - _SLACK_S <= at_s <= first_s
            for name in _names(point.session)
            for at_s in self._returns.get(name, ())
        )


def _names(session: str) -> tuple[str, str]:
    """How the engine may know a session: by its own name, or over HTTP as RUN/HASH (`HttpTarget`)."""
    return session, hashlib.blake2b(session.encode(errors="replace"), digest_size=16).hexdigest()


def _line(band: PauseBand) -> BandLine:
    return BandLine(band.from_s, band.to_s, band.p50_ms, band.p99_ms)
