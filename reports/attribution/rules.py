"""From what was seen around a wait to its cause. Rules for what a client alone can see; the first that fits counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...workloads.watching.client_audit import Lapse
from ..recording.expectation import FittedSizes
from ..summary.causes import Cause, Stall
from ..summary.state import FLAG_RATIO
from .progress import Known
from .tail_events import Around, TailEvent

_MOST = 0.5
"""Of a wait: a cause must explain at least this much of it."""
_TOGETHER = 0.15
"""Of a wait: first tokens of one batch are no further apart."""
_NEARLY_ALL = 0.8
_FEW = 0.2
_LEAST_STREAMS = 3
"""With fewer others, it says nothing if all of them stalled."""
_LEAST_AFTER = 3
"""Gaps: with fewer behind it, nobody can tell whether a wait was made good."""
_SLOW = 2.0
"""Times the usual pace: from here on it is a slow spell."""
_NEARBY = 10.0
"""Lengths of a stall, before and after it."""
_CROWDS = frozenset({Cause.STALL, Cause.NETWORK, Cause.CLIENT, Cause.UNKNOWN})
"""While these last, prompts gather."""
_SLOWER_THAN_OTHERS = 1.5
"""The others' mean pace has the slow replica's other streams in it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the rules know of the run as a whole. Times in seconds since it began.

    Attributes:
        prompt_cost_s: What one prompt adds to others' gaps; None where that is unknown.
        long_context: An answer to a prompt of so many tokens is slow because of them.
        has_preempted: Whether the server's metrics say that it preempted; False if nobody knows.
    """

    lapses: Sequence[Lapse]
    stalls: Sequence[Stall]
    expected: FittedSizes | None
    progress: Known
    itl_p50_s: float
    ttft_p50_s: float
    ttft_p90_s: float = 0.0
    prompt_cost_s: float | None = None
    long_context: float = math.inf
    has_preempted: bool = False


def cause_of(event: TailEvent, setting: Setting) -> Cause:
    """The likeliest cause of a wait."""
    if event.client_s >= _MOST * event.length_s or _client_lag_s(event, setting.lapses) >= _MOST * event.length_s:
        return Cause.CLIENT
    return _cause_of_gap(event, setting) if event.is_gap else _cause_of_ttft(event, setting)


def _cause_of_gap(event: TailEvent, setting: Setting) -> Cause:
    around, stream = event.around, event.stream
    if stream is not None and event.was_made_good:
        if stream.is_in_bursts:
            return Cause.COALESCING
        return Cause.NETWORK
    if around.num_moved + around.num_between <= _FEW * around.num_streaming and _is_a_prompts(event, setting):
        return _cause_of_a_crowd(event, setting) or Cause.PREFILL
    if around.num_moved:
        is_slow_throughout = stream is not None and stream.typical_s >= _MOST * event.length_s
        if is_slow_throughout and around.num_moved >= _LEAST_STREAMS:
            return Cause.SIZE if event.prompt_tokens >= setting.long_context else Cause.SLOW_REPLICA
        if around.num_stalled <= _FEW * around.num_streaming and not is_slow_throughout and not event.is_control:
            if setting.has_preempted:
                return Cause.PREEMPTION
            # Those who stop and go on together are on one machine; one whose prompt took as long may have been, too.
            is_alone = not around.num_in_step and not around.num_released
            return Cause.SINGLE if is_alone and event.num_after >= _LEAST_AFTER else Cause.UNKNOWN
    if _is_in_a_slow_spell(event, setting.progress):
        return Cause.SLOW_SPELL
    if _stalled_s(event, setting.stalls, Cause.NETWORK) >= _MOST * event.length_s:
        return Cause.NETWORK
    if _may_be_a_prompts(event, setting) or not _has_everybody_stalled(around):
        return Cause.UNKNOWN
    return Cause.STALL


def _cause_of_a_crowd(event: TailEvent, setting: Setting) -> Cause | None:
    """What had just kept many prompts waiting that were then computed together; None if nothing had."""
    for stall in setting.stalls:
        is_right_after = stall.start_s < event.start_s <= stall.end_s + stall.length_s
        if is_right_after and stall.cause in _CROWDS and event.stream is not None:
            return stall.cause
    return None


def _is_in_a_slow_spell(event: TailEvent, progress: Known) -> bool:
    """Whether everybody was slow around it. What is far longer than gaps were then is no part of that."""
    start_s, end_s = event.start_s - 2 * event.length_s, event.end_s + 2 * event.length_s
    pace_s = progress.pace_s(start_s, end_s)
    is_of_its_pace = pace_s is None or event.length_s <= FLAG_RATIO * pace_s
    return is_of_its_pace and progress.slowness(start_s, end_s) >= _SLOW


def _is_a_prompts(event: TailEvent, setting: Setting) -> bool:
    """Whether prompts that were computed meanwhile should have taken that long."""
    around = event.around
    excess_ms = (event.length_s - setting.itl_p50_s) * 1e3
    of_prompts_ms = max(around.prefill_ms, around.num_within * (setting.prompt_cost_s or 0.0) * 1e3)
    if around.num_first_tokens and of_prompts_ms >= _MOST * excess_ms:
        return True
    return around.under_way_ms >= _MOST * excess_ms


def _may_be_a_prompts(event: TailEvent, setting: Setting) -> bool:
    """Whether somebody had waited for most of it when his first token came, and waits of that length are common.

    What a prompt takes is not known where prompts are alike, or machines are not. Where what it costs others is not
    known either, it may be all that requests usually wait.
    """
    excess_s = event.length_s - setting.itl_p50_s
    if setting.prompt_cost_s is None and event.around.num_within * setting.ttft_p50_s >= _MOST * excess_s:
        return True
    return excess_s <= setting.ttft_p90_s and event.around.longest_within_s >= _MOST * event.length_s


def _has_everybody_stalled(around: Around) -> bool:
    """Nearly all streams; where they are too few to tell, those in flight that went on together afterwards."""
    if around.num_streaming >= _LEAST_STREAMS:
        return around.num_stalled >= _NEARLY_ALL * around.num_streaming
    has_moved = around.num_moved or around.num_between
    return not has_moved and around.num_stalled + around.num_released >= _LEAST_STREAMS


def stands_out(event: TailEvent, progress: Known) -> bool:
    """Whether a stall is one at the pace of its own time, however slow that was by then."""
    around_s = _NEARBY * event.length_s
    pace_s = progress.pace_s(event.start_s - around_s, event.end_s + around_s)
    return pace_s is None or event.length_s > FLAG_RATIO * pace_s


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
    for stalled in (Cause.STALL, Cause.CLIENT, Cause.NETWORK):
        if _stalled_s(event, setting.stalls, stalled) >= _MOST * length_s:
            return stalled
    if event.was_retried:
        return Cause.CONNECTION  # nobody knows how long it lay with the connection that was closed
    if _waited_for_a_batch(event):
        return Cause.STATIC_BATCH
    if event.was_made_good:
        return Cause.NETWORK
    if _is_on_a_slow_replica(event, progress):
        return Cause.SIZE if event.prompt_tokens >= setting.long_context else Cause.SLOW_REPLICA
    if (behind := _cause_of_waiting_behind_prompts(event)) is not None:
        return behind
    if progress.slowness(event.start_s, event.end_s) >= _SLOW:
        has_stood_still = _stalled_s(event, setting.stalls, Cause.UNKNOWN) >= _MOST * length_s
        return Cause.UNKNOWN if has_stood_still else Cause.SLOW_SPELL
    if progress.num_refused(event.start_s, event.end_s + length_s):
        return Cause.REFUSALS
    around = event.around
    has_kept_its_place = around.num_overtook <= max(1, around.num_ahead)
    if around.num_made_way and has_kept_its_place and (around.num_ahead or _are_slots_taken(event, progress)):
        return Cause.QUEUEING
    return Cause.UNKNOWN


def _are_slots_taken(event: TailEvent, progress: Known) -> bool:
    return progress.has_slots and progress.full_share(event.start_s, event.end_s) >= _NEARLY_ALL


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
    """Whether a request waited until all that ran had ended, nobody else began in the later half of that, and it began
    right after them.

    A continuous scheduler lets somebody begin as soon as one ends. One with a single slot cannot, so there must have
    been several at once: others that began with it, or that ended one after the other while it waited.
    """
    streams, near_s = event.around.streams, _TOGETHER * event.length_s
    batch = [stream for stream in streams if stream[0] < event.end_s - near_s and stream[1] > event.start_s]
    if not batch:
        return False
    until_s = max(end_s for _, end_s in batch)
    waited_s = until_s - event.start_s
    if waited_s < _MOST * event.length_s or abs(event.end_s - until_s) > near_s:
        return False
    if max(first_s for first_s, _ in batch) > event.start_s + _MOST * waited_s:
        return False
    own_end_s = event.end_s if event.stream is None else event.stream.end_s
    after = [stream for stream in streams if abs(stream[0] - event.end_s) <= near_s and stream[1] > event.end_s]
    if any(first_s < own_end_s for first_s, _ in after):
        return True
    in_turn = sorted(batch)
    ran_together = any(second[0] < first[1] for first, second in pairwise(in_turn))
    return ran_together and until_s - min(end_s for _, end_s in batch) >= near_s


def _stalled_s(event: TailEvent, stalls: Sequence[Stall], cause: Cause) -> float:
    """How much of it lies within moments at which everybody stalled."""
    return sum(_common_s(event, stall.start_s, stall.length_s) for stall in stalls if stall.cause is cause)


def _client_lag_s(event: TailEvent, lapses: Sequence[Lapse]) -> float:
    return sum(_common_s(event, lapse.start_s, lapse.length_s) for lapse in lapses)


def _common_s(event: TailEvent, start_s: float, length_s: float) -> float:
    return max(0.0, min(event.end_s, start_s + length_s) - max(event.start_s, start_s))
