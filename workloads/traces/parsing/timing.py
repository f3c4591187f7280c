"""What the turns of a session wait for, where a trace gives delays or send times in milliseconds."""

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
