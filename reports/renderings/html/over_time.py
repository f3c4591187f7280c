"""A run over its time: latencies, requests in flight, failures, and stalls."""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Sequence

import msgspec

from ....workloads.result import Result
from ...recording.recorder import ALL
from ...recording.totals import OTHER_ERRORS
from ...statistics.coarsen import coarser
from ...summary.causes import Cause, Stall
from ...summary.findings import stall_in_words
from ..shown_run import ShownRun
from .time_bins import PresenceBins, ValueBins

CHARTED_METRICS = ("ttft", "itl", "max_gap")
"""By when each belongs: a ttft to when its turn was due, a gap to when it began."""

_MOST_BINS = 320
_LEAST_BINS = 80
"""As few as this where requests are: finer bins would each have hardly any."""
_REQUESTS_PER_BIN = 20
_FIRST_BIN_S = 0.02
_MOST_KINDS = 64
"""Of errors that are told apart, of which the chart shows `_MOST_SHOWN_KINDS`."""
_MOST_SHOWN_KINDS = 5


class Latency(msgspec.Struct, kw_only=True):
    """A metric of a class by bin, in microseconds; None where there is nothing.

    Attributes:
        n: Values in each bin.
    """

    n: list[int]
    p50: list[int | None]
    p99: list[int | None]
    max: list[int | None]


class ServerSeries(msgspec.Struct, kw_only=True):
    """A metric of the server over time. Series with the same unit share an axis.

    Attributes:
        t: Seconds since the run began, in order.
        v: The value then, in `unit`.
    """

    name: str
    unit: str
    t: list[float]
    v: list[float]


class Standstill(msgspec.Struct, kw_only=True):
    """A stall as it is shown. Times are seconds since the run began."""

    start_s: float
    end_s: float
    who: str
    text: str


class Failures(msgspec.Struct, kw_only=True):
    """How many requests failed in each bin, with errors of a class."""

    kind: str
    n: list[int]


class OverTime(msgspec.Struct, kw_only=True):
    """A run over its time, in bins of `bin_s` seconds from its beginning on.

    Attributes:
        sending_until_s: None if the run had no --duration.
        in_flight: Requests between due and end, mean of each bin.
        failures: Requests that failed in each bin, by class of error, the commonest first; none where none did.
        retried: Requests that were sent again, likewise; empty where none were.
        latency: By metric, then by class.
    """

    bin_s: float
    warmup_s: float
    sending_until_s: float | None
    in_flight: list[float]
    failures: list[Failures]
    retried: list[int]
    stalls: list[Standstill]
    latency: dict[str, dict[str, Latency]]
    server: list[ServerSeries] = []


class OverTimeCollector:
    """Takes in results one at a time, of any order, and keeps none."""

    def __init__(self) -> None:
        self._bin_s = _FIRST_BIN_S
        self._num_bins = 0
        self._num_requests = 0
        self._values: dict[tuple[str, str], ValueBins] = {}
        self._in_flight = PresenceBins()
        self._failed: dict[str, Counter[int]] = {}
        self._retried: Counter[int] = Counter()

    def add(self, result: Result) -> None:
        """Count a result, of the warm-up too. A failed one has no latencies."""
        due_s, end_s = max(0.0, result.due_s), max(0.0, result.due_s, result.end_s)
        self._num_requests += 1
        self._make_room(end_s)
        self._in_flight.begin(self._index(due_s), due_s)
        self._in_flight.end(self._index(end_s), end_s)
        if result.retries:
            self._retried[self._index(end_s)] += 1
        if result.error is not None:
            is_known = result.error in self._failed or len(self._failed) < _MOST_KINDS
            self._failed.setdefault(result.error if is_known else OTHER_ERRORS, Counter())[self._index(end_s)] += 1
            return
        self._bins("ttft", result).add(self._index(due_s), (result.ttft_us,))
        if gaps_us := result.all_gaps_us():
            self._add_gaps(result, max(0.0, due_s if result.first_s is None else result.first_s), gaps_us)

    def _add_gaps(self, result: Result, first_s: float, gaps_us: Sequence[int]) -> None:
        began_us = [0, *itertools.accumulate(gaps_us[:-1])]
        self._make_room(first_s + began_us[-1] / 1e6)
        longest = max(range(len(gaps_us)), key=gaps_us.__getitem__)
        self._bins("max_gap", result).add(
            self._index(first_s + began_us[longest] / 1e6), gaps_us[longest : longest + 1]
        )
        bins, taken = self._bins("itl", result), 0
        while taken < len(gaps_us):
            index = self._index(first_s + began_us[taken] / 1e6)
            until_us = ((index + 1) * self._bin_s - first_s) * 1e6
            behind = max(bisect.bisect_left(began_us, until_us, taken), taken + 1)
            bins.add(index, gaps_us[taken:behind])
            taken = behind

    def _bins(self, metric: str, result: Result) -> ValueBins:
        return self._values.setdefault((metric, result.traffic_class), ValueBins())

    def _index(self, at_s: float) -> int:
        return int(at_s / self._bin_s)

    def _make_room(self, until_s: float) -> None:
        while self._index(until_s) >= _MOST_BINS:
            self._coarsen()
        self._num_bins = max(self._num_bins, self._index(until_s) + 1)

    def _coarsen(self) -> None:
        self._bin_s *= 2
        self._num_bins = (self._num_bins + 1) // 2
        self._in_flight.coarsen()
        for bins in self._values.values():
            bins.coarsen()
        self._failed = {kind: coarser(counts, 2) for kind, counts in self._failed.items()}
        self._retried = coarser(self._retried, 2)

    def over_time(self, run: ShownRun, classes: Sequence[str]) -> OverTime:
        """All that was taken in, of a run, latencies of these classes. Nothing can be added from then on."""
        while self._num_bins >= 2 * _LEAST_BINS and self._num_requests < _REQUESTS_PER_BIN * self._num_bins:
            self._coarsen()
        latency: dict[str, dict[str, Latency]] = {}
        for metric in CHARTED_METRICS:
            by_class = {name: bins for (of, name), bins in self._values.items() if of == metric}
            total = ValueBins()
            for bins in by_class.values():
                total.add_all(bins)
            by_class[ALL] = total
            if any(total.counts(self._num_bins)):
                latency[metric] = {name: self._latency(by_class[name]) for name in classes if name in by_class}
        stalls = [] if run.summary.attribution is None else run.summary.attribution.stalls
        return OverTime(
            bin_s=round(self._bin_s, 6),
            warmup_s=run.config.warmup_s,
            sending_until_s=run.config.duration_s,
            in_flight=self._in_flight.means(self._num_bins, self._bin_s),
            failures=self._failures(),
            retried=self._by_bin(self._retried) if self._retried else [],
            stalls=[_standstill(stall) for stall in sorted(stalls, key=lambda stall: stall.start_s)],
            latency=latency,
        )

    def _failures(self) -> list[Failures]:
        """The commonest classes, and the rest together."""
        ordered = sorted(self._failed.items(), key=lambda item: (item[0] == OTHER_ERRORS, -item[1].total(), item[0]))
        shown, rest = ordered[:_MOST_SHOWN_KINDS], ordered[_MOST_SHOWN_KINDS:]
        if rest:
            shown.append((OTHER_ERRORS, sum((counts for _, counts in rest), Counter[int]())))
        return [Failures(kind=kind, n=self._by_bin(counts)) for kind, counts in shown]

    def _by_bin(self, counts: Counter[int]) -> list[int]:
        return [counts[at] for at in range(self._num_bins)]

    def _latency(self, bins: ValueBins) -> Latency:
        return Latency(
            n=bins.counts(self._num_bins),
            p50=bins.quantile_us(0.5, self._num_bins),
            p99=bins.quantile_us(0.99, self._num_bins),
            max=bins.largest_us(self._num_bins),
        )


def _standstill(stall: Stall) -> Standstill:
    who = {Cause.STALL: "server", Cause.CLIENT: "client"}.get(stall.cause, "")
    return Standstill(start_s=stall.start_s, end_s=round(stall.end_s, 4), who=who, text=stall_in_words(stall))
