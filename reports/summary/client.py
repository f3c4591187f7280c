"""The client's account of itself: whether a run measured the server or the client."""

from __future__ import annotations

import msgspec

from ...workloads.bounds import Amount, Count, Number
from ...workloads.watching.client_audit import ClientAudit, Lapse
from ..recording.histograms import new_histogram
from ..statistics.percentile import values_at
from .finding import Finding, not_trusted
from .metric import MetricSummary
from .state import FLAG_RATIO, State

_MOST_LAPSES = 100
MAX_CPU_SHARE = 0.9
"""Of one core: above this, requests wait for the client's own turn."""
MAX_GC_SHARE = 0.02
MAX_LAG_SHARE = 0.25
"""Of the latency in question: a client that lags by more than this has measured itself."""
MAX_WAIT_SHARE = 0.5
"""Of the time: a client that is kept waiting for a processor for longer has timed the other processes."""
_LAG_THAT_COUNTS_MS = 2.0
"""Any event loop is late by this much."""
_WAIT_THAT_COUNTS = 0.05
"""Of the time. From here on other processes are why the client lags, and more senders would only wait as well."""


class ClientFloor(msgspec.Struct, kw_only=True, frozen=True):
    """What `abatch calibrate` found at the highest rate at which the client can be trusted here.

    Attributes:
        added_ttft_p99_ms: 99th percentile of what the client added to each request's ttft; itl and e2e likewise.
        max_trusted_rate: Requests per second, each with 20 output tokens.
        calibrated_at: Date and time.
        workers: Processes that sent.
    """

    added_ttft_p99_ms: Number
    added_itl_p99_ms: Number
    added_e2e_p99_ms: Number
    max_trusted_rate: Amount
    calibrated_at: str
    workers: Count = 1


class ClientSummary(msgspec.Struct, kw_only=True):
    """What held up the client's own process over the measured part.

    Attributes:
        lag_p50_ms: How much later than due its event loop woke, asked every 10 ms; p99, p99.9 and maximum likewise.
        gc_pauses: Garbage collections; `gc_share` is their part of the time, `gc_longest_ms` the longest.
        cpu_share: Processor time of the busiest process over the time measured; 1 is a whole core.
        lapses: The longest lags above 5 ms, [length, start] in seconds since the run began.
        wait_share: Part of the time in which the client was ready to run and had no processor, by the kernel's account;
            None where that keeps none.
        workers: Processes that sent.
        floor: What this client adds by itself, if `abatch calibrate` has measured it here.
    """

    lag_p50_ms: Amount
    lag_p99_ms: Amount
    lag_p999_ms: Amount
    lag_max_ms: Amount
    gc_pauses: Count
    gc_share: Amount
    gc_longest_ms: Amount
    cpu_share: Amount
    lapses: list[Lapse] = []
    wait_share: Amount | None = None
    workers: Count = 1
    floor: ClientFloor | None = None

    def lag_ms(self, metric: str) -> float:
        """What the client's lag may have added to the p99 of a metric.

        The longest gap of a request is the worst of many, each of which a lag may fall into.
        """
        return self.lag_p999_ms if metric == "max_gap" else self.lag_p99_ms

    @property
    def kept_waiting(self) -> str:
        """How long other processes had its processor, in words; empty where that was nothing to speak of."""
        if self.wait_share is None or self.wait_share <= _WAIT_THAT_COUNTS:
            return ""
        return f"other processes kept it waiting for a processor for {self.wait_share:.0%} of the time"


def summarise_client(audit: ClientAudit, workers: int = 1, floor: ClientFloor | None = None) -> ClientSummary | None:
    """None where the watch saw nothing: a run that ended before its measured part."""
    if not audit.beats_us or audit.elapsed_s <= 0:
        return None
    lag = new_histogram()
    for value_us, count in audit.beats_us.items():
        lag.record_value(max(value_us, 1), count)
    p50, p99, p999 = (value_us / 1e3 for value_us in values_at(lag, (50, 99, 99.9)))
    return ClientSummary(
        lag_p50_ms=p50,
        lag_p99_ms=p99,
        lag_p999_ms=p999,
        lag_max_ms=float(lag.get_max_value()) / 1e3,
        gc_pauses=audit.gc_pauses,
        gc_share=round(audit.gc_total_s / audit.elapsed_s, 6),
        gc_longest_ms=round(audit.gc_longest_s * 1e3, 3),
        cpu_share=round(audit.cpu_s / audit.elapsed_s, 4),
        lapses=audit.lapses[:_MOST_LAPSES],
        wait_share=None if audit.wait_share is None else round(audit.wait_share, 4),
        workers=workers,
        floor=floor,
    )


def client_doubts(client: ClientSummary) -> list[Finding]:
    """Why nothing that this client measured should be believed; empty if nothing speaks against it."""
    found = []
    if client.cpu_share > MAX_CPU_SHARE:
        words = f"the client used {client.cpu_share:.0%} of one core: raise --workers, or run it on another machine"
        found.append(not_trusted(words, cpu_share=client.cpu_share))
    if client.gc_share > MAX_GC_SHARE:
        words = f"the client spent {client.gc_share:.1%} of the time in garbage collection: raise --workers"
        found.append(not_trusted(words, gc_share=client.gc_share))
    if client.wait_share is not None and client.wait_share > MAX_WAIT_SHARE:
        words = f"the client was not on time: {client.kept_waiting}. {_STOP_THEM}"
        found.append(not_trusted(words, wait_share=client.wait_share))
    return found


_STOP_THEM = "Stop what else runs on this machine, or give it cores of its own"


def lag_doubt(client: ClientSummary, metric: str, traffic_class: str, measured: MetricSummary) -> Finding | None:
    """Why a metric should not be believed: the client's own lag is much of it, or all that makes a tail of it.

    None if it may be believed.
    """
    lag_ms, p99_ms = client.lag_p99_ms, measured.p99_ms
    if lag_ms > max(_LAG_THAT_COUNTS_MS, MAX_LAG_SHARE * p99_ms):
        words = f"the client lagged by {lag_ms:.1f} ms at p99, too much to trust a p99 of {p99_ms:.1f} ms"
    elif _makes_the_tail(lag_ms := client.lag_ms(metric), measured):
        words = (
            f"the client lagged by up to {lag_ms:.1f} ms, without which {measured.tail[0]} may be less than "
            f"{FLAG_RATIO:g}x the median"
        )
    else:
        return None
    advice = (
        f"{client.kept_waiting}: stop them" if client.kept_waiting else "give it a core of its own, or raise --workers"
    )
    return not_trusted(
        f"{metric}: {words}: {advice}",
        metric=metric,
        traffic_class=traffic_class,
        lag_p99_ms=client.lag_p99_ms,
        p99_ms=p99_ms,
    )


def _makes_the_tail(lag_ms: float, measured: MetricSummary) -> bool:
    if measured.verdict is not State.FLAGGED or lag_ms <= _LAG_THAT_COUNTS_MS:
        return False
    _, at_ms, _ = measured.tail
    return at_ms - lag_ms <= FLAG_RATIO * measured.p50_ms


def floor_doubts(floor: ClientFloor | None, offered_rate: float) -> list[Finding]:
    """Why a run at this rate should not be believed. A floor that was never measured is no reason."""
    if floor is None or offered_rate <= floor.max_trusted_rate:
        return []
    words = (
        f"the run offered {offered_rate:.0f} requests/s, but this client was calibrated for at most "
        f"{floor.max_trusted_rate:.0f}: raise --workers"
    )
    return [not_trusted(words, offered_rate=offered_rate, max_trusted_rate=floor.max_trusted_rate)]
