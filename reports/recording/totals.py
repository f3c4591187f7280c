"""What a recorder counts rather than times."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, fields

from ...workloads.result import Result
from ...workloads.targets.client_limit import CLIENT_LIMIT
from .answer_sizes import AnswerSizes
from .connections import Connections
from .delivery import Delivery

_MOST_KINDS = 64
"""Of errors: there are some ten of ours and a status of HTTP each, but a folder that others made may hold any."""
OTHER_ERRORS = "other_errors"


@dataclass(slots=True)
class Totals:
    """Counts of a run's requests. Warm-up is excluded unless an entry says otherwise.

    Attributes:
        finished: Requests that succeeded within the measured time, whenever they were due; throughput is made of these.
        finished_tokens: Their output tokens. `finished_unknown`: those of them whose tokens are not known.
        chunks: Of requests with a known number of tokens.
        answers: Sizes of those that succeeded. `delivery`: how they came.
        connections: Of all that were sent.
        held: Requests that waited for one of the places of --max-in-flight, `held_s` in all. `unplaced`: those of the
            dropped ones that waited for one to the end.
        due: Requests by class. `good`: those of them that met all objectives. `failed`: those that failed, but not by a
            limit of the client.
        error_spans_s: By class of error, when the first and the last of them ended, in seconds since the run began.
        last_success_s: When the last success ended.
    """

    requests: int = 0
    succeeded: int = 0
    warmup: int = 0
    censored: int = 0
    late: int = 0
    dropped: int = 0
    held: int = 0
    held_s: float = 0.0
    unplaced: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    chunks: int = 0
    chunk_tokens: int = 0
    answers: AnswerSizes = field(default_factory=AnswerSizes)
    delivery: Delivery = field(default_factory=Delivery)
    connections: Connections = field(default_factory=Connections)
    due: Counter[str] = field(default_factory=Counter)
    good: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    finished_tokens: int = 0
    finished_unknown: int = 0
    paused: int = 0
    capped_pauses: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    error_examples: dict[str, str] = field(default_factory=dict)
    error_spans_s: dict[str, tuple[float, float]] = field(default_factory=dict)
    last_success_s: float = -math.inf

    def merge(self, other: Totals) -> None:
        """Add the totals of other requests."""
        for kind, (first_s, last_s) in other.error_spans_s.items():
            self.saw_error(kind, first_s)
            self.saw_error(kind, last_s)
        self.last_success_s = max(self.last_success_s, other.last_success_s)
        self.error_examples = {**other.error_examples, **self.error_examples}
        for total in fields(self):
            if total.name not in ("error_spans_s", "last_success_s", "error_examples"):
                setattr(self, total.name, getattr(self, total.name) + getattr(other, total.name))

    def add_error(self, result: Result) -> None:
        """Count a request that failed, by how, when and of which class."""
        kind = result.error
        assert kind is not None
        if kind not in self.errors and len(self.errors) >= _MOST_KINDS:
            kind = OTHER_ERRORS
        self.errors[kind] += 1
        self.failed[result.traffic_class] += kind != CLIENT_LIMIT
        self.error_examples.setdefault(kind, result.error_message or "")
        self.saw_error(kind, result.end_s)

    def saw_error(self, kind: str, at_s: float) -> None:
        """Note when a request failed."""
        first_s, last_s = self.error_spans_s.get(kind, (at_s, at_s))
        self.error_spans_s[kind] = min(first_s, at_s), max(last_s, at_s)
