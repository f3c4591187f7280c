"""How much longer a tool will take: learnt from how long its calls took, and from how long this one has already."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque

_MAX_PAUSES = 256
"""Remembered of each tool; older ones are forgotten, so that a tool that has changed is believed again."""

_MAX_TOOLS = 1024
"""Names come from clients; further ones share what was learnt about all tools."""

_ENOUGH = 5
"""Pauses longer than the present one from which a mean is taken."""

_SHORTEST_GUESS_S = 0.5


class _Pauses:
    """The latest pauses of one tool, and sorted."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, pause_s: float) -> None:
        if len(self._latest) == _MAX_PAUSES:
            forgotten = self._latest.popleft()
            del self._sorted[bisect_right(self._sorted, forgotten) - 1]
        self._latest.append(pause_s)
        insort(self._sorted, pause_s)

    def longer_than(self, elapsed_s: float) -> list[float]:
        return self._sorted[bisect_right(self._sorted, elapsed_s) :]


class PauseEstimator:
    """Expected remaining pauses, by tool name.

    Of a call that has taken `e` seconds, the remaining time is estimated by the calls of the same tool that took longer
    than that, less `e`: the empirical mean residual life. Where too few did, all tools are asked; where too few of
    those did, a pause is expected to last as long again as it has (tool latencies are heavy-tailed: what has taken
    long will take long).
    """

    def __init__(self) -> None:
        self._all = _Pauses()
        self._by_tool: dict[str, _Pauses] = {}

    def observe(self, tool: str | None, pause_s: float) -> None:
        """A pause has ended. `tool` is None for a pause of unknown cause, such as a person's."""
        self._all.add(pause_s)
        name = tool or ""
        if name not in self._by_tool and len(self._by_tool) < _MAX_TOOLS:
            self._by_tool[name] = _Pauses()
        if name in self._by_tool:
            self._by_tool[name].add(pause_s)

    def remaining_s(self, tool: str | None, elapsed_s: float) -> float:
        """Expected (mean) seconds until a pause ends that has lasted `elapsed_s`."""
        longer = self._longer(tool, elapsed_s)
        return sum(longer) / len(longer) - elapsed_s if longer else max(elapsed_s, _SHORTEST_GUESS_S)

    def quantile_s(self, tool: str | None, elapsed_s: float, share: float) -> float:
        """Seconds within which that share of such pauses ends, counted from now."""
        longer = self._longer(tool, elapsed_s)
        if not longer:
            # The same guess: P(pause > t) = elapsed / t, whose median is one more time what has passed.
            return max(elapsed_s, _SHORTEST_GUESS_S) * share / (1 - share)
        return longer[min(int(share * len(longer)), len(longer) - 1)] - elapsed_s

    def _longer(self, tool: str | None, elapsed_s: float) -> list[float]:
        """Pauses longer than that, of the tool or else of all tools; empty if there are too few."""
        for pauses in (self._by_tool.get(tool or ""), self._all):
            if pauses is not None and len(longer := pauses.longer_than(elapsed_s)) >= _ENOUGH:
                return longer
        return []
