"""Results into HDR histograms, by metric and traffic class."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hdrh.histogram import HdrHistogram

from ...workloads.result import Result
from ...workloads.session import Pause
from ...workloads.targets.client_limit import CLIENT_LIMIT
from ...workloads.workload import ALL as ALL
from ..statistics.percentile import values_at
from ..statistics.share_blocks import ShareBlocks
from ..statistics.time_blocks import TimeBlocks, merged
from .cache_use import CacheUse
from .goodput import GoodputSummary, Objective, goodput_of, meets
from .histograms import HIGHEST_US, LOWEST_US, Histograms
from .idle_model import IdleModel
from .in_flight import InFlight
from .pauses import Pauses
from .request_sample import RequestSample
from .silences import Receipts
from .slowdown import Slowdowns
from .totals import Totals

RESUMES = ("resume_ttft", "resume_ttft_under_1s", "resume_ttft_1_to_10s", "resume_ttft_over_10s")
"""Of turns after a tool pause: all, and by how long it was."""


def resumes(pause_s: float) -> tuple[str, str]:
    """The metrics that time a turn after a tool pause of this length."""
    return RESUMES[0], RESUMES[1 + (pause_s >= 1) + (pause_s >= 10)]


TTFA = "ttfa"
METRICS = (
    "ttft",
    TTFA,
    "fresh_ttft",
    "continued_ttft",
    *RESUMES,
    "itl",
    "max_gap",
    "tpot",
    "e2e",
    "session",
    "session_model",
    "worst_ttft",
    "final_ttft",
    "start_delay",
)
"""ttfa: to the first token of the answer, where models think aloud. fresh: first turns. continued: later turns without
a tool pause. Of whole sessions: their time, the part of it that was not pauses, the worst ttft of their turns, and that
of the last."""


JUDGED = ("ttft", "resume_ttft", "itl", "max_gap", "e2e")
"""Metrics that are also kept by time, for intervals: those that a verdict is about. tpot is an average, which hides
the stalls; the others are parts of these."""


@dataclass(slots=True)
class _Session:
    """A session so far."""

    start_s: float
    warmup: bool
    model_us: int = 0
    worst_ttft_us: int = 0


_HELD_S = 0.001
"""A turn that waits for longer than this for one of the places of --max-in-flight was held."""
OF_STREAMS = tuple(metric for metric in METRICS if metric not in ("e2e", "session", "session_model", "start_delay"))
"""Metrics that say nothing of an answer that came all at once."""
LATE_US = 10_000
"""A turn sent later than this after it was due counts as late: the client's fault, in every report."""


class Recorder:
    """Takes in results one at a time and keeps none of them: memory does not grow with the length of a run.

    `measured` is from when to when throughput counts, in seconds since the run began; `objectives` are goodput's;
    `timed` are the metrics that are also kept by time; `idle` is what requests take on the idle server, if known.
    """

    def __init__(
        self,
        measured: tuple[float, float] = (0.0, math.inf),
        objectives: tuple[Objective, ...] = (),
        timed: Sequence[str] = JUDGED,
        idle: IdleModel | None = None,
    ) -> None:
        self.totals = Totals()
        self.measured = measured
        self.sample = RequestSample()
        self.in_flight = InFlight()
        self.receipts = Receipts()
        self.cache_use = CacheUse()
        self.pauses = Pauses()
        self.slowdowns = None if idle is None else Slowdowns(idle)
        self._objectives = objectives
        self._timed = frozenset(timed)
        self.missed = ShareBlocks()
        """Requests that missed their objectives. `failed`: those that failed, but not by a limit of the client."""
        self.failed = ShareBlocks()
        self.finished = TimeBlocks()
        """Of requests that count for throughput: their output tokens, by when they ended."""
        self._sessions: dict[str, _Session] = {}
        """Those between their first turn and their last."""
        self._histograms = Histograms()
        """Class `all` is put together on request."""
        self._blocks: dict[tuple[str, str], TimeBlocks] = {}
        self._has_reasoning = False
        """Whether a model thought aloud. If none did, ttfa is ttft, and not told."""
        self._cut: dict[tuple[str, str], Counter[int]] = {}
        """By metric and class: the values that are lower bounds, which the histograms have, too."""

    def add(self, result: Result) -> None:
        """Count a result, and time it if it may be timed."""
        totals = self.totals
        self._follow_session(result)
        self.in_flight.add(result)
        self.receipts.add(result)
        self.cache_use.add(result)
        self.pauses.add(result)
        has_succeeded = result.error is None and not result.censored
        if has_succeeded:
            totals.last_success_s = max(totals.last_success_s, result.end_s)
        if has_succeeded and self.measured[0] <= result.end_s <= self.measured[1]:
            totals.finished += 1
            totals.finished_tokens += result.output_tokens or 0
            totals.finished_unknown += result.output_tokens is None
            self.finished.add(result.end_s, (result.output_tokens or 0,))
        if result.warmup:
            totals.warmup += 1
            return
        totals.requests += 1
        totals.due[result.traffic_class] += 1
        is_good = meets(result, self._objectives)
        totals.good[result.traffic_class] += is_good
        self.missed.add(result.due_s, is_of_kind=not is_good)
        self.failed.add(result.due_s, is_of_kind=result.error not in (None, CLIENT_LIMIT))
        totals.succeeded += has_succeeded
        totals.paused += result.pause is not Pause.NONE
        totals.capped_pauses += result.pause_was_capped
        if result.waited_s >= _HELD_S:
            totals.held += 1
            totals.held_s += result.waited_s
        if result.is_dropped:
            totals.dropped += 1
            totals.unplaced += result.is_unplaced
        else:
            self._record("start_delay", result, (result.start_delay_us,))
            totals.connections.add(result)
            totals.late += result.start_delay_us > LATE_US
            totals.censored += result.censored and result.error is None
        if result.error is not None:
            totals.add_error(result)
            return
        self._count_tokens(result)
        self._record_latencies(result)
        if result.censored or result.is_unanswered:
            self._note_cut(result)
        self.sample.add(result)
        if self.slowdowns is not None:
            self.slowdowns.add(result)

    def _follow_session(self, result: Result) -> None:
        """Add a turn to its session; at the last one, time the whole. One that breaks off is not timed."""
        if result.error is not None or result.censored:
            self._sessions.pop(result.session_id, None)
            return
        if result.turn_index == 0:
            self._sessions[result.session_id] = _Session(result.due_s, result.warmup)
        session = self._sessions.get(result.session_id)
        if session is None:
            return
        session.model_us += result.e2e_us
        session.worst_ttft_us = max(session.worst_ttft_us, result.ttft_us)
        if result.is_last:
            del self._sessions[result.session_id]
            if not session.warmup:
                self._record("session", result, (round((result.end_s - session.start_s) * 1e6),))
                self._record("session_model", result, (session.model_us,))
                self._record("worst_ttft", result, (session.worst_ttft_us,))
                self._record("final_ttft", result, (result.ttft_us,))

    def _count_tokens(self, result: Result) -> None:
        totals = self.totals
        if not result.censored:
            totals.answers.add(result)
            totals.delivery.add(result)
        totals.prompt_tokens += result.prompt_tokens or 0
        totals.cached_tokens += result.cached_tokens or 0
        totals.output_tokens += result.output_tokens or 0
        if result.output_tokens is not None and result.first_s is not None:
            totals.chunks += 1 + len(result.gaps_us)
            totals.chunk_tokens += result.output_tokens - result.hidden_tokens

    def _record_latencies(self, result: Result) -> None:
        self._record("ttft", result, (result.ttft_us,))
        self._record(TTFA, result, (result.ttfa_us,))
        self._has_reasoning = self._has_reasoning or result.had_reasoning
        if result.pause is Pause.TOOL:
            for name in resumes(result.pause_s):
                self._record(name, result, (result.ttft_us,))
        else:
            self._record("continued_ttft" if result.turn_index else "fresh_ttft", result, (result.ttft_us,))
        gaps_us = result.all_gaps_us()
        if gaps_us:
            self._record("itl", result, gaps_us)
            first_s = result.due_s if result.first_s is None else result.first_s
            self._blocks_of("itl", result).add_in_turn(first_s, gaps_us)
            longest_us = max(gaps_us)
            began_s = first_s + sum(gaps_us[: gaps_us.index(longest_us)]) / 1e6
            self._record("max_gap", result, (longest_us,), began_s)
        if (tpot := result.tpot_us) is not None:
            self._record("tpot", result, (round(tpot),))
        self._record("e2e", result, (result.e2e_us,))

    def _note_cut(self, result: Result) -> None:
        """Note which values of a request are lower bounds: one that was cut off, or never came to its answer."""
        cut = self._cut_short(result) if result.censored else {}
        if result.is_unanswered or result.first_s is None:
            cut[TTFA] = result.ttfa_us
        for metric, value_us in cut.items():
            self._cut.setdefault((metric, result.traffic_class), Counter())[value_us] += 1

    def _cut_short(self, result: Result) -> dict[str, int]:
        """By metric, the lower bounds of a request that was cut off by the end of the run."""
        cut = {"e2e": result.e2e_us}
        if result.first_s is None:
            names = ["ttft", "continued_ttft" if result.turn_index else "fresh_ttft"]
            if result.pause is Pause.TOOL:
                names = ["ttft", *resumes(result.pause_s)]
            cut |= dict.fromkeys(names, result.ttft_us)
        elif gaps_us := result.all_gaps_us():
            cut["itl"] = gaps_us[-1]
            if gaps_us[-1] == max(gaps_us):
                cut["max_gap"] = gaps_us[-1]
        return cut

    def cut_us(self, metric: str, traffic_class: str) -> Counter[int]:
        """How often each value of a metric is a lower bound, in microseconds."""
        names = self.classes if traffic_class == ALL else [traffic_class]
        found: Counter[int] = Counter()
        for name in names:
            for value_us, count in self._cut.get((metric, name), {}).items():
                found[min(max(value_us, LOWEST_US), HIGHEST_US)] += count
        return found

    def _record(self, metric: str, result: Result, values_us: Sequence[int], at_s: float | None = None) -> None:
        """Count values. `at_s`: when they began, where that is not when the turn was due."""
        key = metric, result.traffic_class
        self._histograms.add(key, values_us)
        if metric in self._timed and metric != "itl":
            self._blocks_of(metric, result).add(result.due_s if at_s is None else at_s, values_us)

    def _blocks_of(self, metric: str, result: Result) -> TimeBlocks:
        return self._blocks.setdefault((metric, result.traffic_class), TimeBlocks())

    @property
    def classes(self) -> list[str]:
        """The traffic classes that something was recorded of, in alphabetical order."""
        return sorted({traffic_class for _, traffic_class in self._histograms})

    def histogram(self, metric: str, traffic_class: str) -> HdrHistogram | None:
        """Everything recorded of a metric and class; None before the first sample. To be read only."""
        if traffic_class == ALL:
            return self._histograms.of_all(metric)
        key = metric, traffic_class
        return self._histograms.of(key) if key in self._histograms else None

    def time_blocks(self, metric: str, traffic_class: str) -> TimeBlocks:
        """The values of a judged metric by block of time; nothing in it where there are none."""
        keys = [(metric, name) for name in (self.classes if traffic_class == ALL else [traffic_class])]
        return merged(self._blocks[key] for key in keys if key in self._blocks)

    def percentiles_ms(self, metric: str, traffic_class: str, percentiles: Sequence[float]) -> list[float] | None:
        """Percentiles so far; None before the first sample."""
        if (histogram := self.histogram(metric, traffic_class)) is None:
            return None
        return [value_us / 1e3 for value_us in values_at(histogram, percentiles)]

    def histograms(self) -> Iterator[tuple[str, str, HdrHistogram]]:
        """(metric, class, histogram), metrics in reporting order, `all` before the other classes."""
        for metric in METRICS:
            for traffic_class in (ALL, *self.classes) if metric != TTFA or self._has_reasoning else ():
                if (histogram := self.histogram(metric, traffic_class)) is not None:
                    yield metric, traffic_class, histogram

    def __getstate__(self) -> dict[str, Any]:
        """For another process: open sessions are left out."""
        return {**self.__dict__, "_sessions": {}}

    def goodput(self, measured_s: float) -> GoodputSummary | None:
        """How much met the objectives; None if there are none."""
        due, good = self.totals.due, self.totals.good
        if not self._objectives or not due:
            return None
        return goodput_of(self._objectives, due, good, measured_s, self.missed.independent())

    def merge(self, other: Recorder) -> None:
        """Add what another process recorded of the same run: of other sessions, over the same time."""
        self.totals.merge(other.totals)
        self.sample.merge(other.sample)
        self.in_flight.merge(other.in_flight)
        self.receipts.merge(other.receipts)
        self.cache_use.merge(other.cache_use)
        self.pauses.merge(other.pauses)
        self.missed.merge(other.missed)
        self.failed.merge(other.failed)
        self.finished.merge(other.finished)
        self._has_reasoning = self._has_reasoning or other._has_reasoning
        if self.slowdowns is not None and other.slowdowns is not None:
            self.slowdowns.merge(other.slowdowns)
        self._histograms.merge(other._histograms)
        for key, cut in other._cut.items():
            self._cut.setdefault(key, Counter()).update(cut)
        for key, blocks in other._blocks.items():
            self._blocks.setdefault(key, TimeBlocks()).merge(blocks)
