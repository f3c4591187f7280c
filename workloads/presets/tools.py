"""The tools agents call: what they are named, how long they take, how many run at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from .distributions import Constant, Distribution, draw_count

_ONE = Constant(1)


@dataclass(frozen=True, slots=True)
class ToolKind:
    """Tools that take alike.

    A kind goes by several names (weight and name of each) and kinds share names, as real tools do: `bash` lists a
    folder or runs a test-suite. A server that learns latencies by name learns something, but not which kind it was.
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

    `at_once` is how many calls a step makes, `cap_s` how long a call takes at most.
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
        """The slowest of the calls a step makes, for which it waits, and how many there are."""
        num_calls = draw_count(self.at_once, random)
        return max((self.call(random) for _ in range(num_calls)), key=lambda call: call.latency_s), num_calls
