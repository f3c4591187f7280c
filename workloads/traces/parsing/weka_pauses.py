"""What the turns of Weka's coding agents waited for."""

from __future__ import annotations

from dataclasses import dataclass

from ...session import Pause


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """What a trace says about the time of a call.

    Attributes:
        sent_s: Since the session began.
        api_s: How long the server took.
        think_s: What passed before it, in whole seconds; hardly ever below three, for the recorder's own overhead
            is in it.
        brings_result: Its new input is a tool's result; None if the trace does not say.
        calls_tools: Its answer ends with tool calls.
    """

    sent_s: float
    api_s: float | None
    think_s: float | None
    brings_result: bool | None
    calls_tools: bool


class WekaPauses:
    """Goes through the calls of one session."""

    def __init__(self) -> None:
        self._previous: RecordedCall | None = None

    @property
    def previous_end_s(self) -> float | None:
        """When the previous call's answer ended."""
        previous = self._previous
        return None if previous is None or previous.api_s is None else previous.sent_s + previous.api_s

    def next(self, call: RecordedCall, children_end_s: float | None) -> tuple[Pause, float, float]:
        """The next call's pause, `pause_s` and `gap_s`; `children_end_s` is when its sub-agents had ended."""
        previous, end_s = self._previous, self.previous_end_s
        self._previous = call
        if previous is None:
            return Pause.NONE, 0.0, 0.0
        brings_result = previous.calls_tools if call.brings_result is None else call.brings_result
        pause = Pause.TOOL if brings_result or children_end_s is not None else Pause.HUMAN
        if children_end_s is not None and children_end_s <= call.sent_s:
            # The rest of the pause was the sub-agents at work; the replayed ones will take their own time.
            return pause, call.sent_s - children_end_s, 0.0
        gap_s = max(0.0, call.sent_s - previous.sent_s)
        # Where the previous answer's end is not known, think_time counts from the last end that is, and covers the
        # calls since. One that leaves no time for the previous call is such a one.
        if call.think_s and call.think_s < gap_s:
            return pause, call.think_s, 0.0
        if end_s is not None:
            return pause, max(0.0, call.sent_s - end_s), 0.0
        return pause, 0.0, gap_s
