"""What a run comes to: the content of summary.json. docs/run-folder.md describes it for readers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import msgspec

from ...workloads.bounds import Amount, Count, Number
from ...workloads.targets.client_limit import CLIENT_LIMIT
from ..recording.answer_sizes import AnswerSizes
from ..recording.connections import Connections
from ..recording.delivery import Delivery
from ..recording.expectation import FittedSizes
from ..recording.goodput import GoodputSummary
from ..recording.idle_model import IdleModel
from ..recording.in_flight import SteadyState
from ..recording.latency_trend import TRENDED, LatencyTrend, find_trend, work_growth
from ..recording.pause_cost import PauseCosts, pause_costs
from ..recording.recorder import ALL, JUDGED, OF_STREAMS, Recorder
from ..traffic.extent import UnsentSummary
from .cache import CacheSummary, fill_cache
from .causes import Attribution
from .client import ClientSummary
from .engine import EngineSummary
from .metric import MetricSummary, summarise_metric
from .normalised import normalise
from .server import ServerSummary
from .silence import SilenceSummary, summarise_silences
from .slowdown import SlowdownSummary, TimeShares, envelope, summarise_slowdowns, summarise_time
from .state import MIN_SAMPLES, State

SCHEMA_VERSION = 1
MAX_SHARE_NOT_STREAMED = 0.01
"""Of the answers: with more of them all at once, a p99 of what streams is made of may be one of theirs."""
Percentiles = Annotated[list[Annotated[float, msgspec.Meta(gt=0, lt=100)]], msgspec.Meta(min_length=1, max_length=8)]
"""Those that a report shows."""
DEFAULT_PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Summary(msgspec.Struct, kw_only=True):
    """A whole run. Rates are per second of the measured part.

    Attributes:
        metrics: By metric, then by traffic class; class `all` is always there.
        offered_rate: Turns that were due.
        achieved_rate: Turns that ended well within the measured part (not in the drain behind it).
        output_tokens_per_s: Tokens of those turns. `share_without_tokens`: of those turns, how many have a number of
            tokens that is not known, so that the rate is a lower bound.
        late_arrivals: Turns sent more than 10 ms after they were due, which is the client's fault.
        dropped_arrivals: Turns that were due and never sent; their wait counts as a lower bound.
        unplaced_arrivals: Those of them that waited to the end for one of the places of --max-in-flight, which is the
            load's doing, not the client's.
        held_requests: Requests that waited for one of these places; `held_mean_ms`: how long, on average.
        censored: Requests cut off at the end of the run; they count as lower bounds.
        closed_loop: A session that waits keeps the next one from starting, so a frozen server is asked for less.
        capped_pauses: Turns whose pause was shortened by the cap, out of `paused_turns`.
        abandoned_turns: Later turns skipped because their session had failed.
        errors: Failed requests by class; they are in no latency histogram.
        independent_requests: What those of the run are worth for the share that failed: failures that come together are
            one event. None in older runs.
        failed_by_class: Share of the requests of a traffic class that failed, where any did.
        error_spans_s: By class of error, when the first and the last ended, in seconds since the run began.
        last_success_s: When the last success ended; None if there was none.
        has_own_lengths: Answers end where the model ends them, not after exactly as many tokens as were asked for.
        answers: Whether answers and prompts have the sizes that were asked for.
        delivery: How the answers came: streamed or not, with reasoning, with malformed events.
        connections: What new connections cost.
        simulated: True when no real device ran.
        is_complete: False when the run was interrupted or its process killed.
        percentiles: Those that a report shows.
        goodput: How much of the traffic met the objectives, if there were any.
        steady_state: The part of the run in which the number of requests in flight was steady.
        silence: When the server sent nothing for longer than is usual, although requests were in flight.
        trend: What grew all through the run: its percentiles describe no moment of it.
        expectation: What a request of a size should take, fitted to this run; the normalised ratios rest on it.
        idle: What a request of a size takes on the idle server, as probed before the run; else read off the run's own
            fastest requests.
        slowdown: By metric (ttft, tpot, e2e) and class: how many times longer requests took than that.
        time_spent: By class, the shares of work, of waiting, and of interference by other requests.
        attribution: Why the tail is there.
        cache: What a prefix cache may have known of the texts, and whether it did; None in older runs.
        pauses: What tool pauses cost; None where no turn followed one, or first tokens have no time of their own.
        client: What held up the client itself; None in virtual time.
        engine: The engine's own account, if the server is an `abatch serve`.
        server: The server's metrics while it was measured, if it has known ones.
        unsent: Of a trace, what was not sent because the run ended first.
        torn_lines: By file: lines that could not be read when this summary was made from the results, and were left
            out.
    """

    schema_version: int = SCHEMA_VERSION
    is_complete: bool = True
    simulated: bool = False
    target: str = ""
    model: str = ""
    workload: str = ""
    seed: int = 0
    measured_s: Amount = 0.0
    offered_rate: Amount = 0.0
    achieved_rate: Amount = 0.0
    output_tokens_per_s: Amount = 0.0
    share_without_tokens: Amount = 0.0
    requests: Count = 0
    succeeded: Count = 0
    warmup_requests: Count = 0
    late_arrivals: Count = 0
    dropped_arrivals: Count = 0
    unplaced_arrivals: Count = 0
    held_requests: Count = 0
    held_mean_ms: Amount = 0.0
    censored: Count = 0
    paused_turns: Count = 0
    capped_pauses: Count = 0
    abandoned_turns: Count = 0
    errors: dict[str, Count] = {}
    independent_requests: Amount | None = None
    failed_by_class: dict[str, Amount] = {}
    error_examples: dict[str, str] = {}
    error_spans_s: dict[str, list[Amount]] = {}
    last_success_s: Number | None = None
    prompt_tokens: Count = 0
    cached_tokens: Count = 0
    output_tokens: Count = 0
    tokens_per_chunk: Amount = 0.0
    has_own_lengths: bool = False
    answers: AnswerSizes = msgspec.field(default_factory=AnswerSizes)
    delivery: Delivery = msgspec.field(default_factory=Delivery)
    connections: Connections = msgspec.field(default_factory=Connections)
    verdict_class: str = "all"
    closed_loop: bool = False
    warnings: list[str] = []
    percentiles: Percentiles = msgspec.field(default_factory=lambda: list(DEFAULT_PERCENTILES))
    metrics: dict[str, dict[str, MetricSummary]] = {}
    goodput: GoodputSummary | None = None
    steady_state: SteadyState | None = None
    trend: LatencyTrend | None = None
    silence: SilenceSummary | None = None
    expectation: FittedSizes | None = None
    cache: CacheSummary | None = None
    idle: IdleModel | None = None
    slowdown: dict[str, dict[str, SlowdownSummary]] = {}
    time_spent: dict[str, TimeShares] = {}
    pauses: PauseCosts | None = None
    client: ClientSummary | None = None
    attribution: Attribution | None = None
    engine: EngineSummary | None = None
    server: ServerSummary | None = None
    unsent: UnsentSummary | None = None
    torn_lines: dict[str, Count] = {}


def fill_summary(summary: Summary, recorder: Recorder, measured_s: float) -> Summary:
    """Put what was recorded into a summary whose labels are already there."""
    _fill_totals(summary, recorder, measured_s)
    _fill_metrics(summary, recorder)
    if summary.cache is not None:
        fill_cache(summary.cache, recorder.cache_use)
    summary.trend = _trend(summary, recorder)
    summary.goodput = recorder.goodput(measured_s)
    summary.expectation, normalised = normalise(recorder.sample, is_exact=summary.simulated)
    for (metric, traffic_class), tail in normalised.items():
        measured = summary.metrics[metric][traffic_class]
        measured.normalised_ratio, measured.normalised_interval = tail.ratio, tail.interval
    if not _is_withheld(summary, "ttft", ALL):
        summary.pauses = pause_costs(recorder.pauses)
    summary.silence = _silence(summary, recorder)
    _fill_slowdown(summary, recorder)
    return summary


def _fill_totals(summary: Summary, recorder: Recorder, measured_s: float) -> None:
    totals = recorder.totals
    per_second = 1 / measured_s if measured_s > 0 else 0.0
    summary.measured_s = round(measured_s, 3)
    summary.offered_rate = round(totals.requests * per_second, 4)
    summary.achieved_rate = round(totals.finished * per_second, 4)
    summary.output_tokens_per_s = round(totals.finished_tokens * per_second, 2)
    summary.share_without_tokens = totals.finished_unknown / max(totals.finished, 1)
    summary.requests = totals.requests
    summary.succeeded = totals.succeeded
    summary.warmup_requests = totals.warmup
    summary.late_arrivals = totals.late
    summary.dropped_arrivals = totals.dropped
    summary.unplaced_arrivals = totals.unplaced
    summary.held_requests = totals.held
    summary.held_mean_ms = round(totals.held_s / totals.held * 1e3, 3) if totals.held else 0.0
    summary.censored = totals.censored
    summary.paused_turns = totals.paused
    summary.capped_pauses = totals.capped_pauses
    summary.errors = dict(sorted(totals.errors.items()))
    summary.independent_requests = recorder.failed.independent()
    summary.failed_by_class = {
        name: round(count / totals.due[name], 6) for name, count in sorted(totals.failed.items()) if count
    }
    summary.error_examples = dict(sorted(totals.error_examples.items()))
    summary.error_spans_s = {kind: list(span) for kind, span in sorted(totals.error_spans_s.items())}
    summary.last_success_s = totals.last_success_s if math.isfinite(totals.last_success_s) else None
    summary.prompt_tokens = totals.prompt_tokens
    summary.cached_tokens = totals.cached_tokens
    summary.output_tokens = totals.output_tokens
    summary.answers = totals.answers
    summary.delivery = totals.delivery
    summary.connections = totals.connections
    summary.tokens_per_chunk = round(totals.chunk_tokens / totals.chunks, 3) if totals.chunks else 0.0


def _fill_metrics(summary: Summary, recorder: Recorder) -> None:
    summary.metrics = {}
    for metric, traffic_class, histogram in recorder.histograms():
        measured = summarise_metric(
            histogram,
            recorder.time_blocks(metric, traffic_class).blocks() if metric in JUDGED else [],
            summary.percentiles,
            cut_us=recorder.cut_us(metric, traffic_class),
            is_exact=summary.simulated,
        )
        if metric not in JUDGED and measured.count >= MIN_SAMPLES:
            measured.verdict = State.NOT_JUDGED
        if _is_withheld(summary, metric, traffic_class):
            measured.verdict = State.NOT_STREAMED
        summary.metrics.setdefault(metric, {})[traffic_class] = measured


def _trend(summary: Summary, recorder: Recorder) -> LatencyTrend | None:
    """What grew in the verdict's class, and how much larger requests of all classes grew meanwhile."""
    found = (find_trend(metric, recorder.time_blocks(metric, summary.verdict_class).blocks()) for metric in TRENDED)
    trend = next((one for one in found if one is not None), None)
    if trend is not None:
        sample = recorder.sample
        weighed = [(one.due_s, one.prompt_tokens, sample.stands_for(one.traffic_class)) for one in sample.requests()]
        trend.work_growth = round(work_growth(weighed), 3)
    return trend


def _fill_slowdown(summary: Summary, recorder: Recorder) -> None:
    """By what the probe found, or else by the fastest of the run's own requests."""
    slowdowns = recorder.slowdowns
    if slowdowns is None and summary.expectation is not None:
        slowdowns = envelope(recorder.sample, summary.expectation)
    if slowdowns is not None:
        summary.idle = slowdowns.idle
        summary.slowdown = {
            metric: of_class
            for metric, by_class in summarise_slowdowns(slowdowns, is_exact=summary.simulated).items()
            if (of_class := {name: one for name, one in by_class.items() if not _is_withheld(summary, metric, name)})
        }
        summary.time_spent = {
            name: spent for name, spent in summarise_time(slowdowns).items() if not _is_withheld(summary, "ttft", name)
        }


def _is_withheld(summary: Summary, metric: str, traffic_class: str) -> bool:
    """Whether too many answers came all at once to say anything of this metric."""
    return metric in OF_STREAMS and summary.delivery.share_not_streamed(traffic_class) > MAX_SHARE_NOT_STREAMED


def _silence(summary: Summary, recorder: Recorder) -> SilenceSummary | None:
    """Silences longer than any wait that is usual; what a large prompt takes is."""
    waits, gaps = (summary.metrics.get(metric, {}).get(ALL) for metric in ("ttft", "max_gap"))
    usual_wait_s = 0.0 if waits is None else waits.p50_ms / 1e3
    if summary.expectation is not None:
        largest = max(request.prefill_tokens for request in recorder.sample.requests())
        usual_wait_s = max(usual_wait_s, summary.expectation.ttft_ms(largest) / 1e3)
    receipts = recorder.receipts
    return summarise_silences(
        receipts.silences(),
        from_s=recorder.measured[0],
        to_s=recorder.measured[1],
        usual_wait_s=usual_wait_s,
        usual_gap_s=0.0 if gaps is None else gaps.p50_ms / 1e3,
        cut_streams=receipts.cut_streams,
        cut_waiting=receipts.cut_waiting,
    )


def server_errors(summary: Summary) -> dict[str, int]:
    """Failed requests by class, without those that met a limit of the client: the server never saw them."""
    return {kind: count for kind, count in summary.errors.items() if kind != CLIENT_LIMIT}


def share_failed(summary: Summary) -> float:
    """Share of requests that failed, other than by a limit of the client."""
    return sum(server_errors(summary).values()) / max(summary.requests, 1)


def independent_of_errors(summary: Summary) -> float:
    """How many independent requests the share that failed is known from."""
    known = summary.independent_requests
    return summary.requests if known is None else known


def independent_of_goodput(summary: Summary) -> float:
    """How many independent requests the share that met the objectives is known from."""
    known = None if summary.goodput is None else summary.goodput.independent
    return summary.requests if known is None else known


def independent_of_pair(independent: Callable[[Summary], float], one: Summary, other: Summary) -> tuple[float, float]:
    """Likewise of two runs. One in which nothing failed shows no clusters: they may be as large as the other's."""
    worth = min(independent(run) / max(run.requests, 1) for run in (one, other))
    first, second = (
        run.requests * worth if independent(run) >= run.requests else independent(run) for run in (one, other)
    )
    return first, second


def share_client_limited(summary: Summary) -> float:
    """Share of requests that met a limit of the client."""
    return summary.errors.get(CLIENT_LIMIT, 0) / max(summary.requests, 1)


def share_good(summary: Summary) -> float:
    """Share of requests that met the objectives; NaN without objectives."""
    return math.nan if summary.goodput is None else summary.goodput.share


def share_unknown(summary: Summary) -> float:
    """Share of requests of which at most a lower bound is known."""
    cut_short = (summary.censored + summary.dropped_arrivals) / max(summary.requests, 1)
    return cut_short + share_client_limited(summary)
