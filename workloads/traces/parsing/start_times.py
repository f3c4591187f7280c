"""When sessions start, counted from the first one."""

from __future__ import annotations


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
