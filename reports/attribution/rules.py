"""From what was seen around a wait to its cause. Rules for what a client alone can see; the first that fits counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...workloads.watching.client_watch import Lapse
from ..summary.causes import Cause, Stall
from ..summary.expectation import FittedSizes
from .tail_events import TailEvent

_MOST = 0.5
"""Of a wait: a cause must explain at least this much of it."""
_LEAST_OF_A_BATCH = 2
_NEARLY_ALL = 0.8
_FEW = 0.2
_LEAST_STREAMS = 3
"""With fewer others, it says nothing if all of them stalled."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the rules know of the run as a whole. Times in seconds since it began."""

    lapses: Sequence[Lapse]
    stalls: Sequence[Stall]
    expected: FittedSizes | None
    itl_p50_s: float
    ttft_p50_s: float


def cause_of(event: TailEvent, setting: Setting) -> Cause:
    """The likeliest cause of a wait."""
    if event.client_s >= _MOST * event.length_s or _client_lag_s(event, setting.lapses) >= _MOST * event.length_s:
        return Cause.CLIENT
    return _cause_of_gap(event, setting) if event.is_gap else _cause_of_ttft(event, setting)


def _cause_of_gap(event: TailEvent, setting: Setting) -> Cause:
    around = event.around
    on_time_s = 2 * (1 + event.quick_gaps) * event.mean_gap_s
    if event.quick_gaps >= 2 and event.length_s <= on_time_s:
        return Cause.COALESCING
    if around.num_streaming >= _LEAST_STREAMS and around.num_stalled < _NEARLY_ALL * around.num_streaming:
        return Cause.PREEMPTION if around.num_stalled <= _FEW * around.num_streaming else Cause.UNKNOWN
    # All others, if there were any, stalled too: a step took long.
    excess_ms = (event.length_s - setting.itl_p50_s) * 1e3
    if around.num_first_tokens and around.prefill_ms >= _MOST * excess_ms:
        return Cause.PREFILL
    if around.num_streaming < _LEAST_STREAMS:
        return Cause.UNKNOWN
    return Cause.PREFILL if around.longest_prefill_ms >= _MOST * excess_ms else Cause.STALL


def _cause_of_ttft(event: TailEvent, setting: Setting) -> Cause:
    around, expected = event.around, setting.expected
    if expected is not None and event.prefill_tokens is not None:
        lost_ms = expected.ttft_us_per_token * event.lost_tokens / 1e3
        if lost_ms >= _MOST * (event.length_s - setting.ttft_p50_s) * 1e3:
            return Cause.COLD_PREFIX
        if expected.floor_ms(event.prefill_tokens) >= _MOST * event.length_s * 1e3:
            return Cause.SIZE
    stalled_s = (
        _common_s(event, stall.start_s, stall.length_s) for stall in setting.stalls if stall.cause is Cause.STALL
    )
    if any(common_s >= _MOST * event.length_s for common_s in stalled_s):
        return Cause.STALL
    if _waited_for_a_batch(event):
        return Cause.STATIC_BATCH
    if around.num_ahead or around.num_made_way:
        return Cause.QUEUEING
    return Cause.UNKNOWN


def _waited_for_a_batch(event: TailEvent) -> bool:
    """Whether everything that ran had ended before the next began, while a request waited. No continuous scheduler does
    that.

    At least two of each: one request that ends while another's prompt is computed is not a batch.
    """
    running_until_s, num_before = event.start_s, 0
    streams = sorted(event.around.streams)
    for index, (first_s, end_s) in enumerate(streams):
        if first_s > event.end_s + event.length_s:
            break
        is_between_batches = first_s > running_until_s and num_before >= _LEAST_OF_A_BATCH
        has_waited = running_until_s - event.start_s >= _MOST * event.length_s
        if is_between_batches and has_waited and len(streams) - index >= _LEAST_OF_A_BATCH - 1:
            return True
        if end_s > event.start_s:
            num_before += 1
            running_until_s = max(running_until_s, end_s)
    return False


def _client_lag_s(event: TailEvent, lapses: Sequence[Lapse]) -> float:
    return sum(_common_s(event, lapse.start_s, lapse.length_s) for lapse in lapses)


def _common_s(event: TailEvent, start_s: float, length_s: float) -> float:
    return max(0.0, min(event.end_s, start_s + length_s) - max(event.start_s, start_s))
