"""How much there is in a trace, and what of it a run did not send because it ended first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from ...workloads.bounds import Count
from ...workloads.run_limits import RunLimits
from ...workloads.session import Session
from ..formatting import counted
from ..recording.totals import Totals

MOST_COUNTED = 100_000
"""Turns. To read as many takes three seconds."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Sessions, and turns with those of sub-agents. Unless it `is_whole`, there are more."""

    sessions: int
    turns: int
    is_whole: bool = True


def extent_of(sessions: Iterable[Session]) -> Extent:
    """Count them.

    Raises:
        TraceError: a row is bad.
    """
    num_sessions = turns = 0
    for session in sessions:
        if turns >= MOST_COUNTED:
            return Extent(num_sessions, turns, is_whole=False)
        num_sessions += 1
        turns += session.num_requests
    return Extent(num_sessions, turns)


class UnsentSummary(msgspec.Struct, kw_only=True):
    """The rest of a trace.

    Attributes:
        ended_by: What ended the run, such as `--duration 60`.
        sessions: That did not begin, of `of_sessions`. `turns`: that were not sent, of `of_turns`, those of the
            sessions that did not begin among them; but not those that a session had no more because it had failed.
        is_more: The trace was too long to be counted, so that more is left.
    """

    ended_by: str
    sessions: Count
    of_sessions: Count
    turns: Count
    of_turns: Count
    is_more: bool = False


def summarise_unsent(
    whole: Extent | None, limits: RunLimits, *, begun: int, abandoned_turns: int, totals: Totals
) -> UnsentSummary | None:
    """What is left of a trace; None where all was sent.

    Args:
        whole: The trace; None where that is not known, or no limit can end it.
        limits: Of the run.
        begun: Sessions that began, or were due.
        abandoned_turns: That failed sessions had no more.
        totals: What became due in it.
    """
    if whole is None:
        return None
    sessions = max(whole.sessions - begun, 0)
    turns = max(whole.turns - totals.requests - totals.warmup - abandoned_turns, 0)
    if whole.is_whole and not sessions + turns:
        return None
    given = (("--duration", limits.duration_s), ("--num-sessions", limits.num_sessions))
    return UnsentSummary(
        ended_by=" and ".join(f"{name} {value:g}" for name, value in given if value is not None),
        sessions=sessions,
        of_sessions=whole.sessions,
        turns=turns,
        of_turns=whole.turns,
        is_more=not whole.is_whole,
    )


def unsent_in_words(unsent: UnsentSummary, *, cut: int = 0) -> str:
    """What a reader should know of it. `cut`: requests that were cut off at the end of the drain."""
    sessions = f"{unsent.sessions:,} of {counted(unsent.of_sessions, 'session')}"
    turns = f"{unsent.turns:,} of {counted(unsent.of_turns, 'turn')}"
    more = "more than " if unsent.is_more else ""
    words = (
        f"not all of the trace was sent, because {unsent.ended_by} ended the run: {more}{sessions} and {turns} are left"
    )
    return words if not cut else f"{words}; {counted(cut, 'more request')} cut off when the drain ended"
