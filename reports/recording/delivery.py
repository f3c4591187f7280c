"""How answers came: in a stream or not, thought about or not, in one piece or with holes. Part of summary.json."""

from __future__ import annotations

import msgspec

from ...workloads.bounds import Count
from ...workloads.result import Result
from ...workloads.workload import ALL
from .sums import summed_fields


class Delivery(msgspec.Struct, kw_only=True):
    """Of answers that ended well.

    Attributes:
        answers: By class.
        not_streamed: By class, those of several tokens that came as one JSON, or all in one burst.
        malformed_answers: Those with events that could not be read; `malformed_events`: how many events.
        reasoned: Those before which the model thought aloud. `unanswered`: those of them that ended inside of it, so
            that they have no answer token.
        hidden_reasoning: Those before which it thought without showing it, as the server's token counts say.
    """

    answers: dict[str, Count] = {}
    not_streamed: dict[str, Count] = {}
    malformed_answers: Count = 0
    malformed_events: Count = 0
    reasoned: Count = 0
    unanswered: Count = 0
    hidden_reasoning: Count = 0

    def add(self, result: Result) -> None:
        """Count an answer that ended well."""
        name = result.traffic_class
        self.answers[name] = self.answers.get(name, 0) + 1
        if result.is_whole:
            self.not_streamed[name] = self.not_streamed.get(name, 0) + 1
        self.malformed_answers += result.malformed_events > 0
        self.malformed_events += result.malformed_events
        self.reasoned += result.had_reasoning
        self.unanswered += result.is_unanswered
        self.hidden_reasoning += result.hidden_tokens > 0

    def __add__(self, other: Delivery) -> Delivery:
        """Of both."""
        return Delivery(**summed_fields(self, other))

    def num_answers(self, traffic_class: str = ALL) -> int:
        """Of a class."""
        return _of_class(self.answers, traffic_class)

    def num_not_streamed(self, traffic_class: str = ALL) -> int:
        """Of a class."""
        return _of_class(self.not_streamed, traffic_class)

    def share_not_streamed(self, traffic_class: str = ALL) -> float:
        """Of the answers of a class."""
        return self.num_not_streamed(traffic_class) / max(self.num_answers(traffic_class), 1)


def _of_class(counts: dict[str, int], traffic_class: str) -> int:
    return sum(counts.values()) if traffic_class == ALL else counts.get(traffic_class, 0)
