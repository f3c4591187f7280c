"""A fair sample of requests with their sizes, in bounded memory: what expectations are fitted to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

from ...workloads.result import Result
from ..statistics.reservoir import Reservoir

_MOST_OF_A_CLASS = 5000


@dataclass(frozen=True, slots=True)
class SampledRequest:
    """A request's sizes and what it took.

    Attributes:
        prefill_tokens: Tokens of its prompt that no cache had.
        is_guess: It was a later turn, and the server said nothing of its cache.
    """

    traffic_class: str
    due_s: float
    prefill_tokens: int
    output_tokens: int
    ttft_ms: float
    e2e_ms: float
    prompt_tokens: int = 0
    is_guess: bool = False


class RequestSample:
    """Every request of known sizes until there are 5,000 of a class, then each with equal chance."""

    def __init__(self) -> None:
        self._sampled: dict[str, Reservoir[SampledRequest]] = {}
        """By class: those of known sizes."""
        self._unknown: Counter[str] = Counter()
        self._random = Random("sample")
        self._reports_hits = False
        """Whether the server says what its prefix cache had. Some say nothing where it had nothing."""

    def add(self, result: Result) -> None:
        """Offer a request that did not fail. Of others there is only the fact that they were: without sizes,
        cut off, or with a reasoning that the server kept to itself.
        """
        name = result.traffic_class
        if result.prompt_tokens is None or result.output_tokens is None or result.hidden_tokens or result.censored:
            self._unknown[name] += 1
            return
        request = SampledRequest(
            traffic_class=name,
            due_s=result.due_s,
            prefill_tokens=max(0, result.prompt_tokens - (result.cached_tokens or 0)),
            output_tokens=result.output_tokens,
            ttft_ms=max(result.ttft_us, 1) / 1e3,
            e2e_ms=max(result.e2e_us, 1) / 1e3,
            prompt_tokens=result.prompt_tokens,
            is_guess=result.cached_tokens is None and result.turn_index > 0,
        )
        self._reports_hits = self._reports_hits or bool(result.cached_tokens)
        self._of(name).add(request)

    def _of(self, name: str) -> Reservoir[SampledRequest]:
        if name not in self._sampled:
            self._sampled[name] = Reservoir(_MOST_OF_A_CLASS, self._random)
        return self._sampled[name]

    def requests(self) -> list[SampledRequest]:
        """The sample, in order of time; without later turns if nobody knows what a cache had of their prompts."""
        known = (
            request
            for sampled in self._sampled.values()
            for request in sampled.kept
            if self._reports_hits or not request.is_guess
        )
        return sorted(known, key=lambda request: request.due_s)

    def evenly(self) -> list[SampledRequest]:
        """As `requests`, but each stands for equally many: classes that were sampled less thinly are thinned."""
        most = max((self.stands_for(name) for name in self._sampled), default=1.0)
        shares = {name: self.stands_for(name) / most for name in self._sampled}
        random = Random("evenly")
        return [request for request in self.requests() if random.random() < shares[request.traffic_class]]

    def stands_for(self, traffic_class: str) -> float:
        """How many requests each sampled one of a class stands for. The class must have one."""
        return self._sampled[traffic_class].stands_for

    @property
    def offered(self) -> dict[str, int]:
        """By class, how many requests there were, including those that could not be sampled."""
        return dict(Counter({name: sampled.seen for name, sampled in self._sampled.items()}) + self._unknown)

    def merge(self, other: RequestSample) -> None:
        """Add another process's sample: each request of both stays with equal chance."""
        for name, theirs in other._sampled.items():
            self._of(name).merge(theirs)
        self._unknown.update(other._unknown)
        self._reports_hits = self._reports_hits or other._reports_hits
