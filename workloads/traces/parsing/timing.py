"""What a trace leaves to be worked out row by row: when sessions start, what their turns wait for and add."""

from __future__ import annotations

from dataclasses import replace

from ...session import Pause, Turn


class Timing:
    """Follows the send times of one session."""

    def __init__(self) -> None:
        self._is_first = True
        self._sent_ms: float | None = None

    def timed(self, turn: Turn, timestamp_ms: float | None, delay_ms: float | None) -> Turn:
        """The turn with its pause. A delay counts from the end of the turn before, a timestamp from its sending.

        The first turn has none: when it is sent is when the session starts.
        """
        sent_ms, is_first = self._sent_ms, self._is_first
        self._sent_ms, self._is_first = timestamp_ms, False
        if is_first:
            return replace(turn, pause=Pause.NONE)
        if delay_ms is not None:
            return replace(turn, pause_s=delay_ms / 1000)
        if timestamp_ms is not None and sent_ms is not None:
            return replace(turn, gap_s=max(0.0, timestamp_ms - sent_ms) / 1000)
        return turn


class StartTimes:
    """Turns a trace's times into seconds since its first row. They never go back: a row out of order starts at once.

    The first row decides whether the trace has times.
    """

    def __init__(self) -> None:
        self._origin_s: float | None = None
        self._latest_s = 0.0
        self._is_first = True

    def start_s(self, time_s: float | None) -> float | None:
        """Seconds since the first row; None in a trace without times."""
        if self._is_first:
            self._origin_s, self._is_first = time_s, False
        if self._origin_s is None:
            return None
        if time_s is not None:
            self._latest_s = max(self._latest_s, time_s - self._origin_s)
        return self._latest_s


class Growth:
    """What to add to a replayed conversation so that it is as long as the recorded one, where only lengths are known.

    The replayed one holds every answer in full; a recorded one may drop some (hidden reasoning), so it can be a
    little shorter. Much shorter, and it was compacted or is another conversation.

    Args:
        prefix_tokens: The session's shared prefix.
        compacts_below: The share of the replayed length below which a recorded prompt begins anew.
    """

    def __init__(self, prefix_tokens: int = 0, *, compacts_below: float) -> None:
        self._prefix_tokens = prefix_tokens
        self._compacts_below = compacts_below
        self._tokens = prefix_tokens

    def turn(self, prompt_tokens: int, output_tokens: int) -> tuple[int, bool]:
        """New tokens of a turn with such a prompt, and whether it compacts. The first is no shorter than the prefix."""
        compacts = prompt_tokens < self._compacts_below * self._tokens
        if compacts:
            self._tokens = self._prefix_tokens
        new_tokens = max(1, prompt_tokens - self._tokens)
        self._tokens += new_tokens + output_tokens
        return new_tokens, compacts
