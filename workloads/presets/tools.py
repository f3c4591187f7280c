"""The tools that agents call: their names, latencies and parallelism."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from .distributions import Constant, Distribution, draw_count

_ONE = Constant(1)


@dataclass(frozen=True, slots=True)
class ToolKind:
    """Tools with the same distribution of latency.

    A kind has several names (weight and name of each), and kinds share names, as real tools do: `bash` may list a
    folder or run a test suite. A server that learns latencies by name learns something, but not the kind.
    """

    weight: float
    latency_s: Distribution
    names: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool."""

    name: str
    latency_s: float


@dataclass(frozen=True, slots=True)
class Tools:
    """An agent's tools: one kind or another for each call, by weight.

    `at_once` is the number of calls per step, `cap_s` the longest latency of a call.
    """

    kinds: tuple[ToolKind, ...]
    at_once: Distribution = _ONE
    cap_s: float = math.inf

    def call(self, random: Random) -> ToolCall:
        """One call."""
        (kind,) = random.choices(self.kinds, [kind.weight for kind in self.kinds])
        (name,) = random.choices([name for _, name in kind.names], [weight for weight, _ in kind.names])
        return ToolCall(name, min(kind.latency_s.draw(random), self.cap_s))

    def step(self, random: Random) -> tuple[ToolCall, int]:
        """The slowest of a step's calls, which the step waits for, and the number of calls."""
        num_calls = draw_count(self.at_once, random)
        return max((self.call(random) for _ in range(num_calls)), key=lambda call: call.latency_s), num_calls
