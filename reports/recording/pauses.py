"""What turns waited for after pauses of every length, and what the server still had of their contexts."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from ...workloads.result import Result
from ...workloads.session import Pause
from ..statistics.reservoir import Reservoir

EDGES_S = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Between bands of pauses. Below the first one it is none: the session's next turn follows at once."""
_MOST_OF_A_BAND = 3000
_MOST_SESSIONS = 100_000
_LEAST_CONTEXT = 256
"""Tokens. Caches know whole blocks, of up to 128 tokens: what they had of less says little."""
_SLACK_TOKENS = 128
_SLACK_SHARE = 0.1


class Context(StrEnum):
    """What the server still had of the context that a turn continues, by its own count of cached tokens."""

    KEPT = "kept"
    """Nine tenths or more, or all but a block of 128 tokens."""
    PARTLY = "partly"
    RECOMPUTED = "recomputed"
    """A tenth at most."""
    UNKNOWN = "unknown"
    """The context was too short to tell, it was edited or is not known, or the server says nothing of its cache."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A later turn of a session.

    Attributes:
        new_tokens: Of its prompt, those behind the prompt before: computed in any case. None if not known.
        context: None where the server said nothing, which some do where they had nothing.
    """

    traffic_class: str
    due_s: float
    pause_s: float
    ttft_us: int
    prompt_tokens: int | None
    new_tokens: int | None
    context: Context | None


class _Band:
    """The turns after pauses of about one length. `cut_off`: those whose ttft is a lower bound."""

    __slots__ = ("contexts", "cut_off", "sample")

    def __init__(self, random: Random) -> None:
        self.sample: Reservoir[Resumed] = Reservoir(_MOST_OF_A_BAND, random)
        self.contexts: Counter[Context | None] = Counter()
        self.cut_off = 0


class ContextTracker:
    """Follows sessions from prompt to prompt, for what the server had of the one before."""

    __slots__ = ("_prompts",)

    def __init__(self) -> None:
        self._prompts: dict[str, tuple[int, int]] = {}
        """By live session: tokens of its last prompt, and how many of its first ones other sessions share."""

    def add(self, result: Result) -> tuple[int | None, Context | None]:
        """(tokens of its prompt behind the one before, what the server had of that one). Turns come in order."""
        before = self._prompts.pop(result.session_id, None)
        prompt_tokens = result.prompt_tokens
        if prompt_tokens is None or result.error is not None:
            return None, Context.UNKNOWN
        if not result.is_last and len(self._prompts) < _MOST_SESSIONS:
            shared = before[1] if before is not None else 0 if result.turn_index else result.shared_tokens or 0
            self._prompts[result.session_id] = prompt_tokens, shared
        if before is None or prompt_tokens < before[0]:
            return None, Context.UNKNOWN
        return prompt_tokens - before[0], _context(result.cached_tokens, *before)


def _context(cached_tokens: int | None, prompt_tokens: int, shared_tokens: int) -> Context | None:
    """What other sessions share is always there, so it says nothing of this one's context."""
    own_tokens = prompt_tokens - shared_tokens
    if own_tokens < _LEAST_CONTEXT:
        return Context.UNKNOWN
    if cached_tokens is None:
        return None
    had_tokens = cached_tokens - shared_tokens
    if own_tokens - had_tokens <= max(_SLACK_TOKENS, _SLACK_SHARE * own_tokens):
        return Context.KEPT
    return Context.RECOMPUTED if had_tokens <= _SLACK_SHARE * own_tokens else Context.PARTLY


class Pauses:
    """Counts the later turns of sessions by how long their pause was, and keeps a fair sample of each band."""

    def __init__(self) -> None:
        random = Random("pauses")
        self._bands = [_Band(random) for _ in range(len(EDGES_S) + 1)]
        self._tracker = ContextTracker()
        self._reports_hits = False

    def add(self, result: Result) -> None:
        """Count a result. A later turn counts if it follows at once, or after a tool pause."""
        new_tokens, context = self._tracker.add(result)
        self._reports_hits = self._reports_hits or bool(result.cached_tokens)
        if not is_later_turn(result):
            return
        band = self._bands[bisect_right(EDGES_S, result.pause_s)]
        band.cut_off += result.censored and result.first_s is None
        band.contexts[context] += 1
        band.sample.add(
            Resumed(
                traffic_class=result.traffic_class,
                due_s=result.due_s,
                pause_s=result.pause_s,
                ttft_us=max(result.ttft_us, 1),
                prompt_tokens=result.prompt_tokens,
                new_tokens=new_tokens,
                context=context,
            )
        )

    def num_turns(self, place: int) -> int:
        """How many turns followed pauses of a band; the first band is of those that followed at once."""
        return self._bands[place].sample.seen

    def num_cut_off(self, place: int) -> int:
        """How many of them have only a lower bound of their ttft."""
        return self._bands[place].cut_off

    def turns(self, place: int) -> list[Resumed]:
        """A fair sample of them, in order of time."""
        return sorted(self._bands[place].sample.kept, key=lambda turn: turn.due_s)

    def known(self, context: Context | None) -> Context:
        """What a turn found. A server that says nothing had nothing, if it says something of other turns."""
        if context is not None:
            return context
        return Context.RECOMPUTED if self._reports_hits else Context.UNKNOWN

    def contexts(self, place: int) -> dict[Context, int]:
        """How many turns of a band found how much of their context."""
        found: Counter[Context] = Counter()
        for context, count in self._bands[place].contexts.items():
            found[self.known(context)] += count
        return {context: found[context] for context in Context if found[context]}

    def merge(self, other: Pauses) -> None:
        """Add another process's, or another round's: of other sessions."""
        self._reports_hits = self._reports_hits or other._reports_hits
        for mine, theirs in zip(self._bands, other._bands, strict=True):
            mine.sample.merge(theirs.sample)
            mine.contexts.update(theirs.contexts)
            mine.cut_off += theirs.cut_off


def is_later_turn(result: Result) -> bool:
    """Whether it is a later turn with a ttft, of the measured part, that follows at once or after a tool pause."""
    if result.turn_index == 0 or result.error is not None or result.warmup or result.is_whole:
        return False
    return result.pause is Pause.TOOL or result.pause_s < EDGES_S[0]
