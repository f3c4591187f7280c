"""What the client adds by itself, from its results and the log of a null server; and the rule for trusting it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ...engine.null_server.truth import Truth
from ...workloads.result import Result
from ..statistics.percentile import nearest_rank
from ..summary.client import ClientSummary
from ..summary.doubts import doubts
from ..summary.summary import Summary

TTFT_MS, ITL_MS = 50, 10
"""What the null server is told to do."""
INPUT_TOKENS, OUTPUT_TOKENS = 50, 20
"""Of each request."""
EXPECTED_E2E_MS = TTFT_MS + (OUTPUT_TOKENS - 1) * ITL_MS

MAX_START_DELAY_MS = 2.0
"""At p99."""
MAX_E2E_ERROR = 0.02
"""Of the client's e2e p99 against that of the server's own log."""
MAX_UNPUNCTUAL_SHARE = 0.01
"""Of requests sent over 10 ms late, or never."""
MAX_UNKNOWN_SHARE = 0.01
"""Of requests that did not end well on both sides: with more of them missing, p99 may be anything."""


class Added(msgspec.Struct, frozen=True):
    """Percentiles of a difference, request by request: the client's time minus the server's."""

    p50_ms: float
    p99_ms: float
    p999_ms: float


class Point(msgspec.Struct, kw_only=True, frozen=True):
    """The client at one rate.

    Attributes:
        request_rate: Requests per second that were asked for.
        requests: That were due in the measured part.
        samples: Those of them that ended well, and that the server's log has (where there is one).
        late_share: Of `requests`, sent over 10 ms after they were due, or never.
        start: Sent minus due. No server is needed to know it.
        ttft, itl, e2e: What the client adds to them; None without the server's log.
        client_e2e_p99_ms, server_e2e_p99_ms: By the client and by the server's log; None without one.
        coalesced: Requests some of whose chunks reached the client together.
        cpu_ms_per_request: Processor time of the client's processes, if all are as busy as the busiest.
        doubts: What any report would say against such a run.
        has_truth: The server keeps a log of what it truly did.
        failed: Why the client cannot be trusted at this rate; empty if it can (see `failed_criteria`).
    """

    request_rate: float
    achieved_rate: float
    requests: int
    samples: int
    late_share: float
    start: Added | None
    ttft: Added | None = None
    itl: Added | None = None
    e2e: Added | None = None
    client_e2e_p99_ms: float | None = None
    server_e2e_p99_ms: float | None = None
    coalesced: int = 0
    client: ClientSummary | None = None
    cpu_ms_per_request: float | None = None
    doubts: list[str] = []
    has_truth: bool = False
    failed: list[str] = []

    @property
    def e2e_error(self) -> float | None:
        """The client's e2e p99 against the server's, as a share of that."""
        if self.client_e2e_p99_ms is None or not self.server_e2e_p99_ms:
            return None
        return self.client_e2e_p99_ms / self.server_e2e_p99_ms - 1

    @property
    def server_was_slow(self) -> bool:
        """The null server itself was late by its own log: part of what is found here is its doing."""
        slow_ms = EXPECTED_E2E_MS * (1 + MAX_E2E_ERROR)
        return self.server_e2e_p99_ms is not None and self.server_e2e_p99_ms > slow_ms


def failed_criteria(point: Point) -> list[str]:
    """The rule: why the client cannot be trusted at this rate; empty if it can.

    Where the server keeps no log, latencies cannot be judged, only whether the client was punctual.
    """
    failed = []
    if point.samples == 0:
        failed.append("no request succeeded")
    elif (unknown := (point.requests - point.samples) / point.requests) > MAX_UNKNOWN_SHARE:
        failed.append(f"{unknown:.1%} of the requests failed or never ended, above {MAX_UNKNOWN_SHARE:.0%}")
    if point.start is not None and point.start.p99_ms >= MAX_START_DELAY_MS:
        failed.append(f"start delay p99 is {point.start.p99_ms:.2f} ms, not under {MAX_START_DELAY_MS:g} ms")
    if point.late_share > MAX_UNPUNCTUAL_SHARE:
        failed.append(f"{point.late_share:.1%} were sent late or never, above {MAX_UNPUNCTUAL_SHARE:.0%}")
    if (error := point.e2e_error) is not None and abs(error) > MAX_E2E_ERROR:
        failed.append(f"e2e p99 is {error:+.1%} off the server's own log, above {MAX_E2E_ERROR:.0%}")
    if point.has_truth and point.samples and error is None:
        failed.append("e2e cannot be compared with the server's log")
    return failed + point.doubts


def join(results: Iterable[Result], truths: Iterable[Truth]) -> list[tuple[Result, Truth]]:
    """Requests of the measured part that ended well on both sides, as both saw them."""
    by_id = {truth.request_id: truth for truth in truths if truth.fault is None and truth.first_s is not None}
    joined = []
    for result in results:
        truth = by_id.get(result.request_id) if result.request_id else None
        if truth is not None and result.has_latency and not result.censored and result.first_s is not None:
            joined.append((result, truth))
    return joined


def make_point(
    request_rate: float, summary: Summary, results: Iterable[Result], truths: Iterable[Truth] | None
) -> Point:
    """One rate, from a run at it. `truths`: the server's log, None where there is none."""
    measured = [result for result in results if not result.warmup]
    starts_us = [result.start_delay_us for result in measured if not result.is_dropped]
    client, cpu_ms_per_request = summary.client, None
    if client is not None and summary.requests:
        cpu_ms_per_request = round(client.cpu_share * client.workers * summary.measured_s / summary.requests * 1e3, 4)
    point = Point(
        request_rate=request_rate,
        achieved_rate=summary.achieved_rate,
        requests=summary.requests,
        samples=summary.succeeded,
        late_share=(summary.late_arrivals + summary.dropped_arrivals) / max(summary.requests, 1),
        start=_added(starts_us),
        client=client,
        cpu_ms_per_request=cpu_ms_per_request,
        doubts=[doubt.words for doubt in doubts(summary)],
    )
    if truths is not None:
        point = _with_truth(point, join(measured, truths))
    return msgspec.structs.replace(point, failed=failed_criteria(point))


def _with_truth(point: Point, joined: Sequence[tuple[Result, Truth]]) -> Point:
    ttft_us = [result.ttft_us - _us((truth.first_s or 0.0) - truth.arrived_s) for result, truth in joined]
    client_us = [result.e2e_us for result, _ in joined]
    server_us = [_us(truth.end_s - truth.arrived_s) for _, truth in joined]
    gaps_us = [gap_us for result, truth in joined for gap_us in _added_gaps_us(result.gaps_us, truth.gaps_us)]
    return msgspec.structs.replace(
        point,
        has_truth=True,
        samples=len(joined),
        ttft=_added(ttft_us),
        itl=_added(gaps_us),
        e2e=_added([client - server for client, server in zip(client_us, server_us, strict=True)]),
        client_e2e_p99_ms=_percentile_ms(sorted(client_us), 99) if joined else None,
        server_e2e_p99_ms=_percentile_ms(sorted(server_us), 99) if joined else None,
        coalesced=sum(len(result.gaps_us) < len(truth.gaps_us) for result, truth in joined),
    )


def _added_gaps_us(client_us: Sequence[int], server_us: Sequence[int]) -> list[int]:
    """Gap by gap. Where chunks came together there are fewer: the longest of both sides are compared then.

    Leaving those requests out would leave out the very ones that the client read late.
    """
    if len(client_us) != len(server_us):
        client_us, server_us = sorted(client_us, reverse=True), sorted(server_us, reverse=True)
    return [ours_us - theirs_us for ours_us, theirs_us in zip(client_us, server_us, strict=False)]


def _added(differences_us: list[int]) -> Added | None:
    ordered = sorted(differences_us)
    if not ordered:
        return None
    return Added(*(_percentile_ms(ordered, percentile) for percentile in (50, 99, 99.9)))


def _percentile_ms(ordered_us: Sequence[int], percentile: float) -> float:
    return nearest_rank(ordered_us, percentile) / 1e3


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
