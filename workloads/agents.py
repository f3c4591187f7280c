"""The kinds of sessions that presets are mixed from."""

from __future__ import annotations

import math
from random import Random

from .distributions import Constant, Distribution, Geometric, LogNormal, Mixture, draw_count
from .scales import Scales
from .session import Pause, Session, SharedPrefix, Turn
from .workload import SessionFactory

TOOL_LATENCY_S = Mixture(
    ((0.588, LogNormal(0.109, 0.99)), (0.319, LogNormal(3.53, 0.95)), (0.094, LogNormal(46.6, 1.6))), cap=3600.0
)
"""Coding agents' tools. Heavy-tailed: most calls take a fraction of a second, most of the time goes to a few."""


class _Drawer:
    """Draws the parts of one session under the scales in force."""

    def __init__(self, random: Random, scales: Scales) -> None:
        self.random = random
        self._scales = scales

    def input(self, distribution: Distribution) -> int:
        """New tokens of a turn."""
        if self._scales.input_tokens is not None:
            return draw_count(self._scales.input_tokens, self.random)
        return max(1, round(distribution.draw(self.random) * self._scales.context))

    def output(self, distribution: Distribution) -> int:
        """Tokens the server is to generate."""
        return draw_count(self._scales.output_tokens or distribution, self.random)

    def turns(self, distribution: Distribution) -> int:
        """Turns of a session."""
        return draw_count(self._scales.turns or distribution, self.random)

    def prefix(self, name: str, tokens: int) -> SharedPrefix:
        """A shared prefix."""
        return SharedPrefix(name, max(1, round(tokens * self._scales.context)))

    def tool_turn(self, new: Distribution, output: Distribution, latency: Distribution) -> Turn:
        """A turn that brings a tool's result."""
        return self._turn_after(Pause.TOOL, new, output, latency)

    def human_turn(self, new: Distribution, output: Distribution, think: Distribution) -> Turn:
        """A turn that brings a person's next message."""
        return self._turn_after(Pause.HUMAN, new, output, think)

    def first_turn(self, new: Distribution, output: Distribution) -> Turn:
        """A turn that waits for nothing."""
        return Turn(self.input(new), self.output(output))

    def _turn_after(self, pause: Pause, new: Distribution, output: Distribution, wait: Distribution) -> Turn:
        num_new, num_output = self.input(new), self.output(output)
        if pause is Pause.TOOL and self._scales.tool_pause_s is not None:
            return Turn(num_new, num_output, pause=pause, pause_s=self._scales.tool_pause_s.draw(self.random))
        wait_s, cap_s = wait.draw(self.random) * self._scales.time, self._scales.pause_cap_s
        return Turn(num_new, num_output, pause=pause, pause_s=min(wait_s, cap_s), pause_was_capped=wait_s > cap_s)


def chat(scales: Scales) -> SessionFactory:
    """Short questions, short answers, a person who thinks in between (Azure 2023 conversation trace, WildChat)."""
    new, output, think = LogNormal(400, 1.0, cap=4000), LogNormal(130, 0.8, cap=1000), LogNormal(45, 0.8)

    def make(random: Random, session_id: str) -> Session:
        draw = _Drawer(random, scales)
        num_turns = draw.turns(Geometric(2.35, cap=50))
        turns = [draw.first_turn(new, output), *(draw.human_turn(new, output, think) for _ in range(num_turns - 1))]
        return Session(session_id, "chat", tuple(turns))

    return make


def tool_agent(scales: Scales) -> SessionFactory:
    """A customer-service style agent: about eleven calls, half of them after a tool (tau-bench, BFCL)."""
    output, result = LogNormal(55, 0.6), LogNormal(165, 0.8)
    latency, think = LogNormal(0.3, 0.6), LogNormal(2.0, 0.6)

    def make(random: Random, session_id: str) -> Session:
        draw = _Drawer(random, scales)
        num_turns = draw.turns(Geometric(11, cap=30))
        turns = [draw.first_turn(result, output)]
        for _ in range(num_turns - 1):
            if random.random() < 0.5:
                turns.append(draw.tool_turn(result, output, latency))
            else:
                turns.append(draw.human_turn(result, output, think))
        return Session(session_id, "agent", tuple(turns), draw.prefix("tool-agent", 1500))

    return make


def coding_agent(scales: Scales) -> SessionFactory:
    """A coding agent: a long shared prefix, bursts of tool calls, then a person (Claude Code traces, TraceLab)."""
    start, append = LogNormal(9000, 0.8, cap=60000), LogNormal(800, 1.3, cap=32000)
    output, think = LogNormal(220, 1.1, cap=8000), LogNormal(84, 2.1)
    extra_steps = LogNormal(1.5, 1.75, cap=119)
    # Not in the traces' tables: chosen so that a session makes a median of about 45 calls, which is.
    num_requests = Geometric(12, cap=80)

    def make(random: Random, session_id: str) -> Session:
        draw = _Drawer(random, scales)
        turns: list[Turn] = []
        num_turns = None if scales.turns is None else draw_count(scales.turns, random)
        requests_left = draw_count(num_requests, random)
        while len(turns) < num_turns if num_turns is not None else requests_left > 0:
            requests_left -= 1
            turns.append(draw.human_turn(append, output, think) if turns else draw.first_turn(start, output))
            for _ in range(math.floor(extra_steps.draw(random))):
                turns.append(draw.tool_turn(append, output, TOOL_LATENCY_S))
        return Session(session_id, "agent", tuple(turns[:num_turns]), draw.prefix("coding-agent", 15000))

    return make


def always_on(scales: Scales) -> SessionFactory:
    """An agent woken by a heartbeat: usually it answers in a few tokens and sleeps, sometimes it works.

    That 80% of wake-ups end at once is a guess; the rest follows OpenClaw logs.
    """
    wake, append, output = (
        LogNormal(10000, 0.5, cap=60000),
        LogNormal(260, 1.4, cap=32000),
        LogNormal(180, 1.2, cap=4000),
    )
    wait = Mixture(((0.85, LogNormal(0.04, 0.6)), (0.15, LogNormal(2.5, 1.2))))

    def make(random: Random, session_id: str) -> Session:
        draw = _Drawer(random, scales)
        if scales.turns is None and random.random() < 0.8:
            return Session(session_id, "always-on", (draw.first_turn(wake, Constant(random.randint(1, 10))),))
        num_steps = draw.turns(Constant(random.randint(5, 40)))
        turns = [draw.first_turn(wake, output), *(draw.tool_turn(append, output, wait) for _ in range(num_steps - 1))]
        return Session(session_id, "always-on", tuple(turns))

    return make


def single_turn(traffic_class: str, scales: Scales, *, input_tokens: int, output_tokens: int) -> SessionFactory:
    """One question of fixed size, one answer of fixed size."""

    def make(random: Random, session_id: str) -> Session:
        draw = _Drawer(random, scales)
        return Session(session_id, traffic_class, (draw.first_turn(Constant(input_tokens), Constant(output_tokens)),))

    return make
