"""What a run comes to: the content of summary.json. docs/run-folder.md describes it for readers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec
from hdrh.histogram import HdrHistogram

from ...engine.loop.step_account import EngineTotals
from ...engine.session import ParkingTotals
from ..recording.goodput import GoodputSummary
from ..recording.in_flight import SteadyState
from ..recording.recorder import JUDGED, Recorder
from ..statistics.bootstrap import Interval, intervals, p50_ms, p99_ms, tail_ratio
from ..statistics.percentile import value_at
from .client import ClientSummary, client_doubts, lag_doubt
from .client_floor import floor_doubts
from .expectation import FittedSizes, normalise
from .findings import Attribution
from .server import ServerSummary

SCHEMA_VERSION = 1
DEFAULT_PERCENTILES = (50.0, 90.0, 99.0, 99.9)
FLAG_RATIO = 3.0
"""A p99 of more than this many medians is flagged."""
MIN_SAMPLES = 300
"""Below this, p99 rests on fewer than three samples and says nothing."""


class Verdict(StrEnum):
    """What a tail ratio says."""

    OK = "ok"
    FLAGGED = "FLAGGED"
    BORDERLINE = "borderline"
    """The interval of the ratio has 3 within it: another run might say otherwise."""
    TOO_FEW = "too few samples"
    NOT_JUDGED = "not judged"
    """A part of another metric, or an average: it has no interval, so nothing is said of its ratio."""


class MetricSummary(msgspec.Struct, kw_only=True):
    """One metric of one traffic class. `tail_ratio` is p99 / p50.

    Intervals are at 95%, by a block bootstrap over time; None for metrics that no verdict is about, and where a run is
    too short to tell.

    Attributes:
        normalised_ratio: The tail ratio once each request is divided by what one of its size should take.
    """

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    tail_ratio: float
    verdict: Verdict
    p50_interval_ms: Interval | None = None
    p99_interval_ms: Interval | None = None
    tail_ratio_interval: Interval | None = None
    normalised_ratio: float | None = None
    percentiles_ms: dict[str, float] = {}


class ParkingSummary(msgspec.Struct, kw_only=True):
    """What became of sessions' KV between their turns (see `ParkingTotals`).

    Attributes:
        parked: Turns that ended with their session parked.
        kept: Returns that found their context on the device.
        restored: Returns whose context came back from the host tier.
        recomputed: Returns whose context was computed again.
        restore_wait_ms: Mean time that a restored return waited for the copy.
    """

    parked: int
    kept: int
    restored: int
    recomputed: int
    broken: int
    prefetched: int
    expired: int
    parked_block_s: float
    recomputed_tokens: int
    offloaded_bytes: int
    restored_bytes: int
    restore_wait_ms: float


class EngineSummary(msgspec.Struct, kw_only=True):
    """What our own engine says of the measured part.

    Attributes:
        host_step_ms: Mean time a step in which the step loop did not wait: planning, launching, committing.
        device_step_ms: Mean time a step on the device.
        device_idle: Share of the time in which the device stood still while a request was waiting for tokens.
    """

    num_steps: int
    host_step_ms: float
    device_step_ms: float
    device_idle: float
    num_prefill_tokens: int
    num_decode_tokens: int
    num_preemptions: int
    parking: ParkingSummary | None = None


def summarise_engine(totals: EngineTotals) -> EngineSummary | None:
    """Means and shares of the engine's totals; None if it ran no step, or was started anew in between."""
    if totals.num_steps <= 0 or totals.device_busy_s <= 0:
        return None
    return EngineSummary(
        num_steps=totals.num_steps,
        host_step_ms=round(totals.host_s / totals.num_steps * 1e3, 4),
        device_step_ms=round(totals.device_busy_s / totals.num_steps * 1e3, 4),
        device_idle=round(totals.device_idle_s / (totals.device_idle_s + totals.device_busy_s), 6),
        num_prefill_tokens=totals.num_prefill_tokens,
        num_decode_tokens=totals.num_decode_tokens,
        num_preemptions=totals.num_preemptions,
        parking=_summarise_parking(totals.parking) if totals.parking.num_parked > 0 else None,
    )


def _summarise_parking(totals: ParkingTotals) -> ParkingSummary:
    return ParkingSummary(
        parked=totals.num_parked,
        kept=totals.num_kept,
        restored=totals.num_restored,
        recomputed=totals.num_recomputed,
        broken=totals.num_broken,
        prefetched=totals.num_prefetched,
        expired=totals.num_expired,
        parked_block_s=round(totals.parked_block_s, 3),
        recomputed_tokens=totals.recomputed_tokens,
        offloaded_bytes=totals.offloaded_bytes,
        restored_bytes=totals.restored_bytes,
        restore_wait_ms=round(totals.restore_wait_s / totals.num_restored * 1e3, 4) if totals.num_restored else 0.0,
    )


class Summary(msgspec.Struct, kw_only=True):
    """A whole run. Rates are per second of the measured part.

    Attributes:
        metrics: By metric, then by traffic class; class `all` is always there.
        offered_rate: Turns that were due.
        achieved_rate: Turns that ended well within the measured part (not in the drain behind it).
        output_tokens_per_s: Tokens of those turns.
        late_arrivals: Turns sent more than 10 ms after they were due: the client's fault.
        dropped_arrivals: Turns that were due and never sent; their waiting counts as a lower bound.
        censored: Requests cut off at the end of the run; they count as lower bounds.
        capped_pauses: Turns whose pause was cut short by the cap on pauses, of `paused_turns`.
        abandoned_turns: Turns that never became due because their session had failed.
        errors: Failed requests by class; they are in no latency histogram.
        simulated: True when no real device ran.
        is_complete: False when the run was interrupted or its process killed.
        percentiles: Those that a report shows.
        goodput: How much of the traffic met the objectives, where there were some.
        steady_state: The part of the run in which the number of requests in flight was steady.
        expectation: What a request of a size should take, fitted to this run; the normalised ratios rest on it.
        attribution: Why the tail is there.
        client: What held up the client itself; None in virtual time.
        engine: What the server says of itself, where it is an `abatch serve`.
        server: What its metrics said while it was measured, where it has some that are known.
    """

    schema_version: int = SCHEMA_VERSION
    is_complete: bool = True
    simulated: bool = False
    target: str = ""
    model: str = ""
    workload: str = ""
    seed: int = 0
    measured_s: float = 0.0
    offered_rate: float = 0.0
    achieved_rate: float = 0.0
    output_tokens_per_s: float = 0.0
    requests: int = 0
    succeeded: int = 0
    warmup_requests: int = 0
    late_arrivals: int = 0
    dropped_arrivals: int = 0
    censored: int = 0
    paused_turns: int = 0
    capped_pauses: int = 0
    abandoned_turns: int = 0
    errors: dict[str, int] = {}
    error_examples: dict[str, str] = {}
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    tokens_per_chunk: float = 0.0
    verdict_class: str = "all"
    warnings: list[str] = []
    percentiles: list[float] = msgspec.field(default_factory=lambda: list(DEFAULT_PERCENTILES))
    metrics: dict[str, dict[str, MetricSummary]] = {}
    goodput: GoodputSummary | None = None
    steady_state: SteadyState | None = None
    expectation: FittedSizes | None = None
    client: ClientSummary | None = None
    attribution: Attribution | None = None
    engine: EngineSummary | None = None
    server: ServerSummary | None = None


def summarise_metric(
    histogram: HdrHistogram, blocks: Sequence[Counter[int]] = (), percentiles: Sequence[float] = ()
) -> MetricSummary:
    """Percentiles, tail ratio and verdict of one histogram of microseconds; intervals where its blocks are there."""
    count = histogram.get_total_count()

    def at(percentile: float) -> float:
        return value_at(histogram, percentile) / 1e3

    p50, p99 = at(50), at(99)
    ratio = p99 / p50 if p50 else 0.0
    found = intervals(blocks, (p50_ms, p99_ms, tail_ratio)) if count >= MIN_SAMPLES else None
    of_p50, of_p99, of_ratio = found or (None, None, None)
    return MetricSummary(
        count=count,
        mean_ms=round(_mean_us(histogram) / 1e3, 3),
        p50_ms=p50,
        p90_ms=at(90),
        p99_ms=p99,
        p999_ms=at(99.9),
        max_ms=float(histogram.get_max_value()) / 1e3,
        tail_ratio=round(ratio, 3),
        verdict=_verdict(count, ratio, of_ratio),
        p50_interval_ms=of_p50,
        p99_interval_ms=of_p99,
        tail_ratio_interval=of_ratio,
        percentiles_ms={f"{percentile:g}": at(percentile) for percentile in percentiles},
    )


def _verdict(count: int, ratio: float, interval: Interval | None) -> Verdict:
    if count < MIN_SAMPLES:
        return Verdict.TOO_FEW
    is_flagged = ratio > FLAG_RATIO
    if interval is not None and any((end > FLAG_RATIO) != is_flagged for end in (interval.low, interval.high)):
        return Verdict.BORDERLINE
    return Verdict.FLAGGED if is_flagged else Verdict.OK


def _mean_us(histogram: HdrHistogram) -> float:
    """As the library's own, which walks all buckets through iterators and takes fifty times as long."""
    total = 0
    for index, count in enumerate(histogram.counts):
        if count:
            lowest = histogram.get_value_from_index(index)
            total += int(count) * (int(lowest) + int(histogram.get_highest_equivalent_value(lowest)))
    return total / 2 / max(int(histogram.get_total_count()), 1)


def fill_summary(summary: Summary, recorder: Recorder, measured_s: float) -> Summary:
    """Put what was recorded into a summary whose labels are already there."""
    totals = recorder.totals
    per_second = 1 / measured_s if measured_s > 0 else 0.0
    summary.measured_s = round(measured_s, 3)
    summary.offered_rate = round(totals.requests * per_second, 4)
    summary.achieved_rate = round(totals.finished * per_second, 4)
    summary.output_tokens_per_s = round(totals.finished_tokens * per_second, 2)
    summary.requests = totals.requests
    summary.succeeded = totals.succeeded
    summary.warmup_requests = totals.warmup
    summary.late_arrivals = totals.late
    summary.dropped_arrivals = totals.dropped
    summary.censored = totals.censored
    summary.paused_turns = totals.paused
    summary.capped_pauses = totals.capped_pauses
    summary.errors = dict(sorted(totals.errors.items()))
    summary.error_examples = dict(sorted(totals.error_examples.items()))
    summary.prompt_tokens = totals.prompt_tokens
    summary.cached_tokens = totals.cached_tokens
    summary.output_tokens = totals.output_tokens
    summary.tokens_per_chunk = round(totals.chunk_tokens / totals.chunks, 3) if totals.chunks else 0.0
    summary.metrics = {}
    for metric, traffic_class, histogram in recorder.histograms():
        blocks = recorder.time_blocks(metric, traffic_class).blocks() if metric in JUDGED else []
        measured = summarise_metric(histogram, blocks, summary.percentiles)
        if metric not in JUDGED and measured.verdict is not Verdict.TOO_FEW:
            measured.verdict = Verdict.NOT_JUDGED
        summary.metrics.setdefault(metric, {})[traffic_class] = measured
    summary.goodput = recorder.goodput(measured_s)
    summary.expectation, ratios = normalise(recorder.sample)
    for (metric, traffic_class), ratio in ratios.items():
        summary.metrics[metric][traffic_class].normalised_ratio = ratio
    return summary


MAX_ERROR_SHARE = 0.05
MAX_LATE_SHARE = 0.05


def doubts(summary: Summary) -> list[str]:
    """Why this run's latencies must not be read as the server's; empty if nothing speaks against it."""
    found = client_problems(summary)
    if (failed := share_failed(summary)) > MAX_ERROR_SHARE:
        found.insert(0, f"{failed:.1%} of the requests failed, and failures are often the slow ones")
    return found


def client_problems(summary: Summary) -> list[str]:
    """What shows that the client was the bottleneck; empty if it was not."""
    found = []
    if (late := summary.late_arrivals / max(summary.requests, 1)) > MAX_LATE_SHARE:
        found.append(f"{late:.1%} were sent late: the client or --max-in-flight was the bottleneck")
    if (dropped := summary.dropped_arrivals / max(summary.requests, 1)) > MAX_LATE_SHARE:
        found.append(
            f"{summary.dropped_arrivals} arrivals ({dropped:.1%}) were due and never sent: the client or "
            "--max-in-flight was the bottleneck, and what is known of them are lower bounds"
        )
    if summary.client is not None:
        found += client_doubts(summary.client)
        found += floor_doubts(summary.client.floor, summary.offered_rate)
    return found


def doubt_of_metric(summary: Summary, metric: str, traffic_class: str) -> str | None:
    """Why one metric must not be read as the server's, though others may; None if nothing speaks against it."""
    if summary.client is None:
        return None
    return lag_doubt(summary.client, summary.metrics[metric][traffic_class].p99_ms)


def doubts_with(summary: Summary, metrics: Iterable[str], traffic_class: str) -> list[str]:
    """All doubts: those about the run, then those about these metrics of a class, where it has them."""
    found = doubts(summary)
    for metric in metrics:
        if traffic_class in summary.metrics.get(metric, {}):
            problem = doubt_of_metric(summary, metric, traffic_class)
            found += [f"{metric}: {problem}"] if problem else []
    return found


def share_failed(summary: Summary) -> float:
    """Share of requests that failed."""
    return sum(summary.errors.values()) / max(summary.requests, 1)


def share_good(summary: Summary) -> float:
    """Share of requests that met the objectives; NaN where there were none."""
    return math.nan if summary.goodput is None else summary.goodput.share


def share_unknown(summary: Summary) -> float:
    """Share of requests of which only a lower bound is known."""
    return (summary.censored + summary.dropped_arrivals) / max(summary.requests, 1)
