"""Draws the parts of a session under the scales in force."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from random import Random

from ..session import Pause, SharedPrefix, Turn
from .distributions import Distribution, draw_count
from .scales import Scales
from .tools import Tools


class SessionDrawer:
    """Draws the parts of one session. What it draws is a function of `random` and the scales only."""

    def __init__(self, random: Random, scales: Scales) -> None:
        self.random = random
        self.scales = scales

    def input(self, distribution: Distribution) -> int:
        """New tokens of a turn."""
        if self.scales.input_tokens is not None:
            return draw_count(self.scales.input_tokens, self.random)
        return max(1, round(distribution.draw(self.random) * self.scales.context))

    def output(self, distribution: Distribution) -> int:
        """Tokens for the server to generate."""
        return draw_count(self.scales.output_tokens or distribution, self.random)

    def turns(self, distribution: Distribution) -> int:
        """Turns of a session."""
        return draw_count(self.scales.turns or distribution, self.random)

    def rounds(self, distribution: Distribution) -> tuple[Iterable[int], int | None]:
        """For sessions made of rounds of several turns: the rounds, and how many turns to stop after (None: never).

        If the number of turns is overridden, there are as many rounds as it takes.
        """
        if self.scales.turns is not None:
            return count(), draw_count(self.scales.turns, self.random)
        return range(draw_count(distribution, self.random)), None

    def prefix(self, name: str, tokens: Distribution) -> SharedPrefix:
        """A shared prefix. Overrides of lengths apply to turns, not to prefixes."""
        return SharedPrefix(name, max(1, round(tokens.draw(self.random) * self.scales.context)))

    def first_turn(self, new: Distribution, output: Distribution) -> Turn:
        """A turn that waits for nothing."""
        return Turn(self.input(new), self.output(output))

    def human_turn(self, new: Distribution, output: Distribution, think: Distribution) -> Turn:
        """A turn that carries the user's next message."""
        num_new, num_output = self.input(new), self.output(output)
        pause_s, is_capped = self._pause(think.draw(self.random))
        return Turn(num_new, num_output, pause=Pause.HUMAN, pause_s=pause_s, pause_was_capped=is_capped)

    def tool_turn(self, new: Distribution, output: Distribution, tools: Tools) -> Turn:
        """A turn that carries the results of a step's tools, once the slowest one has finished."""
        num_new, num_output = self.input(new), self.output(output)
        slowest, num_tools = tools.step(self.random)
        if self.scales.tool_pause_s is not None:
            pause_s, is_capped = self.scales.tool_pause_s.draw(self.random), False
        else:
            pause_s, is_capped = self._pause(slowest.latency_s)
        return Turn(
            num_new,
            num_output,
            pause=Pause.TOOL,
            pause_s=pause_s,
            pause_was_capped=is_capped,
            tool=slowest.name,
            num_tools=num_tools,
        )

    def _pause(self, wait_s: float) -> tuple[float, bool]:
        """A pause after scaling and capping, and whether it was capped."""
        wait_s *= self.scales.time
        return min(wait_s, self.scales.pause_cap_s), wait_s > self.scales.pause_cap_s
