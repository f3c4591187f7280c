"""From what was seen around a wait to its cause. Rules for what a client alone can see; the first that fits counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...workloads.watching.client_watch import Lapse
from ..summary.causes import Cause, Stall
from ..summary.expectation import FittedSizes
from .progress import Known
from .tail_events import Around, TailEvent

_MOST = 0.5
"""Of a wait: a cause must explain at least this much of it."""
_LEAST_OF_A_BATCH = 2
_TOGETHER = 0.15
"""Of a wait: first tokens of one batch are no further apart."""
_NEARLY_ALL = 0.8
_FEW = 0.2
_LEAST_STREAMS = 3
"""With fewer others, it says nothing if all of them stalled."""
_SLOW = 2.0
"""Times the usual pace: from here on it is a slow spell."""
_LATE = 1.5
"""Times what is usual for the stream: a shorter wait is not late."""
_SLOWER_THAN_OTHERS = 1.5
"""The others' mean pace has the slow replica's other streams in it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the rules know of the run as a whole. Times in seconds since it began.

    Attributes:
        has_preempted: Whether the server's metrics say that it preempted; False if nobody knows.
    """

    lapses: Sequence[Lapse]
    stalls: Sequence[Stall]
    expected: FittedSizes | None
    progress: Known
    itl_p50_s: float
    ttft_p50_s: float
    has_preempted: bool = False


def cause_of(event: TailEvent, setting: Setting) -> Cause:
    """The likeliest cause of a wait."""
    if event.client_s >= _MOST * event.length_s or _client_lag_s(event, setting.lapses) >= _MOST * event.length_s:
        return Cause.CLIENT
    return _cause_of_gap(event, setting) if event.is_gap else _cause_of_ttft(event, setting)


def _cause_of_gap(event: TailEvent, setting: Setting) -> Cause:
    around, stream = event.around, event.stream
    have_nearly_all_stalled = around.num_stalled >= _NEARLY_ALL * around.num_streaming
    if stream is not None and _was_made_good(event, stream.typical_s):
        if stream.is_in_bursts:
            return Cause.COALESCING
        if around.num_moved and not have_nearly_all_stalled:
            return Cause.NETWORK
    if around.num_moved + around.num_between <= _FEW * around.num_streaming and _is_a_prompts(event, setting):
        return Cause.PREFILL
    if around.num_moved:
        is_slow_throughout = stream is not None and stream.typical_s >= _MOST * event.length_s
        if is_slow_throughout and around.num_moved >= _LEAST_STREAMS:
            return Cause.SLOW_REPLICA
        if around.num_stalled <= _FEW * around.num_streaming and not is_slow_throughout and not event.is_control:
            return Cause.PREEMPTION if setting.has_preempted else Cause.SINGLE
    if setting.progress.slowness(event.start_s - 2 * event.length_s, event.end_s + 2 * event.length_s) >= _SLOW:
        return Cause.SLOW_SPELL
    return Cause.STALL if _has_everybody_stalled(around) else Cause.UNKNOWN


def _was_made_good(event: TailEvent, usual_s: float) -> bool:
    """Whether most of what it took too long was caught up right afterwards: the tokens were there, but not here."""
    return event.length_s >= _LATE * usual_s and event.catch_up_s >= _MOST * (event.length_s - usual_s)


def _is_a_prompts(event: TailEvent, setting: Setting) -> bool:
    """Whether prompts that were computed meanwhile should have taken that long."""
    around = event.around
    excess_ms = (event.length_s - setting.itl_p50_s) * 1e3
    if around.num_first_tokens and around.prefill_ms >= _MOST * excess_ms:
        return True
    return around.under_way_ms >= _MOST * excess_ms


def _has_everybody_stalled(around: Around) -> bool:
    """Nearly all streams; where they are too few to tell, those in flight that went on together afterwards."""
    if around.num_streaming >= _LEAST_STREAMS:
        return around.num_stalled >= _NEARLY_ALL * around.num_streaming
    has_moved = around.num_moved or around.num_between
    return not has_moved and around.num_stalled + around.num_released >= _LEAST_STREAMS


def _cause_of_ttft(event: TailEvent, setting: Setting) -> Cause:
    expected, progress, length_s = setting.expected, setting.progress, event.length_s
    over_s = length_s - setting.ttft_p50_s
    if event.waited_s >= _MOST * length_s:
        return Cause.QUEUEING
    if event.connect_s >= _MOST * length_s:
        return Cause.CONNECTION
    if expected is not None and event.prefill_tokens is not None:
        # Its own context, or those of prompts that were computed first.
        lost_ms = expected.tokens_ms(event.lost_tokens, event.prompt_tokens) + event.around.lost_ahead_ms
        if lost_ms >= _MOST * over_s * 1e3:
            return Cause.COLD_PREFIX
        if expected.floor_ms(event.prefill_tokens, event.prompt_tokens) >= _MOST * length_s * 1e3:
            return Cause.SIZE
    for stalled in (Cause.STALL, Cause.CLIENT):
        if _stalled_s(event, setting.stalls, stalled) >= _MOST * length_s:
            return stalled
    if _waited_for_a_batch(event):
        return Cause.STATIC_BATCH
    if _was_made_good(event, setting.ttft_p50_s):
        return Cause.NETWORK
    if _is_on_a_slow_replica(event, progress):
        return Cause.SLOW_REPLICA
    if (behind := _cause_of_waiting_behind_prompts(event)) is not None:
        return behind
    if progress.slowness(event.start_s, event.end_s) >= _SLOW:
        return Cause.SLOW_SPELL
    if progress.num_refused(event.start_s, event.end_s):
        return Cause.REFUSALS
    are_slots_taken = progress.has_slots and progress.full_share(event.start_s, event.end_s) >= _NEARLY_ALL
    if event.around.num_made_way and (are_slots_taken or event.around.num_ahead):
        return Cause.QUEUEING
    return Cause.UNKNOWN


def _cause_of_waiting_behind_prompts(event: TailEvent) -> Cause | None:
    """One long prompt that was computed first, or several."""
    around = event.around
    if around.longest_ahead_ms >= _MOST * event.length_s * 1e3:
        return Cause.PREFILL
    if around.num_ahead and around.prompts_ahead_ms >= _MOST * event.length_s * 1e3:
        return Cause.QUEUEING
    return None


def _is_on_a_slow_replica(event: TailEvent, progress: Known) -> bool:
    """Whether the answer itself was slow, while others were not."""
    stream = event.stream
    if stream is None or len(stream.gaps_us) < _LEAST_STREAMS:
        return False
    pace_s = progress.pace_s(stream.first_s, stream.end_s)
    return pace_s is not None and stream.typical_s >= _SLOWER_THAN_OTHERS * pace_s


def _waited_for_a_batch(event: TailEvent) -> bool:
    """Whether everything that ran had ended before the next began, while a request waited, and it began with them. No
    continuous scheduler does that.

    At least two of each: one request that ends while another's prompt is computed is not a batch.
    """
    running_until_s, num_before = event.start_s, 0
    streams = sorted(event.around.streams)
    for index, (first_s, end_s) in enumerate(streams):
        if first_s > event.end_s + event.length_s:
            break
        is_between_batches = first_s > running_until_s and num_before >= _LEAST_OF_A_BATCH
        has_waited = running_until_s - event.start_s >= _MOST * event.length_s
        is_of_the_next = abs(first_s - event.end_s) <= _TOGETHER * event.length_s
        if is_between_batches and has_waited and is_of_the_next and len(streams) - index >= _LEAST_OF_A_BATCH - 1:
            return True
        if end_s > event.start_s:
            num_before += 1
            running_until_s = max(running_until_s, end_s)
    return False


def _stalled_s(event: TailEvent, stalls: Sequence[Stall], cause: Cause) -> float:
    """How much of it lies within moments at which everybody stalled."""
    return sum(_common_s(event, stall.start_s, stall.length_s) for stall in stalls if stall.cause is cause)


def _client_lag_s(event: TailEvent, lapses: Sequence[Lapse]) -> float:
    return sum(_common_s(event, lapse.start_s, lapse.length_s) for lapse in lapses)


def _common_s(event: TailEvent, start_s: float, length_s: float) -> float:
    return max(0.0, min(event.end_s, start_s + length_s) - max(event.start_s, start_s))
