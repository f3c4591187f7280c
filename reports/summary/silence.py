"""When the server sent nothing although requests were in flight: what closed loops and ends of runs hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from ...workloads.bounds import Amount, Count
from ..formatting import counted, duration
from ..recording.silences import Silence
from ..statistics.percentile import rank_at
from .finding import Finding, Label, Tone

_LEAST_S = 1.0
_LEAST_AT_END_S = 0.2
_USUAL_WAITS = 3
"""Medians: for as long as this it is nothing unusual that one request receives nothing."""
_MOST_SHARE = 0.01
"""Of the time measured: a p99 is of the other 99%."""


class SilenceSummary(msgspec.Struct, kw_only=True):
    """The silences of the measured part that are longer than any wait that is usual in this run.

    Attributes:
        total_s: All of them together.
        longest_s: The longest; `longest_at_s`: when it began, in seconds since the run did.
        in_flight: Requests that were waiting during the longest.
        to_end_s: How long the server had sent nothing when the run ended with requests in flight; 0 if it had.
        cut_off: Requests that were in flight then.
    """

    count: Count
    total_s: Amount
    longest_s: Amount
    longest_at_s: Amount
    in_flight: Count
    to_end_s: Amount = 0.0
    cut_off: Count = 0


def summarise_silences(
    silences: Sequence[Silence],
    *,
    from_s: float,
    to_s: float,
    usual_wait_s: float,
    usual_gap_s: float,
    cut_streams: int,
    cut_waiting: int,
) -> SilenceSummary | None:
    """What stands out; None if nothing does.

    Args:
        silences: Of the whole run, in order.
        from_s: Where the measured part begins.
        to_s: Where it ends. What is silent after that keeps no one from sending.
        usual_wait_s: What the largest of its requests waits for its first token when nothing is wrong.
        usual_gap_s: The longest gap of a usual request.
        cut_streams: Requests that were streaming when the run ended.
        cut_waiting: Requests that had received nothing by then.
    """
    measured = [silence for silence in silences if silence.start_s + silence.length_s > from_s]
    least_s = max(_LEAST_S, _USUAL_WAITS * max(usual_wait_s, usual_gap_s))
    long = [part for one in measured if (part := _crowded(one, from_s, to_s)).length_s > least_s]
    to_end_s = _to_end_s(measured, usual_gap_s if cut_streams else usual_wait_s) if cut_streams + cut_waiting else 0.0
    if not long and not to_end_s:
        return None
    longest = max(long or measured[-1:], key=lambda silence: silence.length_s)
    return SilenceSummary(
        count=len(long),
        total_s=round(sum(silence.length_s for silence in long), 3),
        longest_s=round(longest.length_s, 3),
        longest_at_s=round(longest.start_s, 3),
        in_flight=longest.in_flight,
        to_end_s=round(to_end_s, 3),
        cut_off=cut_streams + cut_waiting if to_end_s else 0,
    )


def _crowded(silence: Silence, from_s: float, to_s: float) -> Silence:
    """The part of it in which several requests waited, as far as it was measured."""
    end_s = silence.start_s + silence.length_s
    start_s = max(end_s - silence.crowded_s, from_s)
    return replace(silence, start_s=start_s, length_s=min(end_s, to_s) - start_s)


def _to_end_s(measured: Sequence[Silence], usual_s: float) -> float:
    """How long the silence at the end was, if that is unusual for this run."""
    if not measured or not measured[-1].is_last:
        return 0.0
    others = sorted(silence.length_s for silence in measured[:-1])
    usual_s = max(usual_s, others[rank_at(99, len(others)) - 1] if others else 0.0)
    length_s = measured[-1].length_s
    return length_s if length_s > max(_LEAST_AT_END_S, _USUAL_WAITS * usual_s) else 0.0


def silence_doubts(silence: SilenceSummary | None, measured_s: float, *, is_closed_loop: bool) -> list[Finding]:
    """That time passed which the percentiles do not show; empty if none did.

    Args:
        silence: What stands out.
        measured_s: How long the measured part was.
        is_closed_loop: Sessions wait for answers before they send more.
    """
    if silence is None:
        return []
    found = []
    if silence.to_end_s:
        words = (
            f"the server sent nothing in the last {duration(1e3 * silence.to_end_s)} of the run, with "
            f"{counted(silence.cut_off, 'request')} in flight: it may be dead, and how long they would have taken is "
            "not known (--drain waits longer)"
        )
        found.append(_flagged(words, to_end_s=silence.to_end_s))
    if is_closed_loop and silence.total_s > _MOST_SHARE * measured_s:
        when = f"from {silence.longest_at_s:.1f} s on"
        if silence.count > 1:
            when = f"{silence.count} times, the longest for {duration(1e3 * silence.longest_s)} {when}"
        words = (
            f"the server sent nothing for {duration(1e3 * silence.total_s)} of {duration(1e3 * measured_s)}, {when}, "
            f"with {counted(silence.in_flight, 'request')} in flight. A closed loop sends nothing meanwhile, so its "
            "percentiles hide this: use --request-rate"
        )
        found.append(_flagged(words, silent_s=silence.total_s))
    return found


def _flagged(words: str, **numbers: float) -> Finding:
    return Finding(label=Label.FLAGGED, tone=Tone.BAD, words=words, numbers=numbers)
