"""Always-on agents: they wake on a heartbeat, and mostly go back to sleep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

from ..session import Pause, Session, Turn
from ..workload import SessionFactory
from .distributions import Constant, LogNormal, Uniform
from .scales import Scales
from .session_drawer import SessionDrawer
from .tools import ToolKind, Tools

HEARTBEAT_S = 1800.0
NUM_WAKES = 24
"""Wakes per agent, half a day's worth. Then the next agent takes its place."""
IDLE_SHARE = 0.8
"""The share of wakes that end in a short reply: an assumption."""

_JITTER = 0.5
"""Waits between wakes are uniform within this share of the period, either way: an assumption."""
_MESSAGE_TOKENS = 30
_STANDING_CONTEXT = LogNormal(10_000, 0.5, cap=100_000, shift=-_MESSAGE_TOKENS)
"""Together with the message that wakes the agent, LN(10k, 0.5)."""
_SHORT_REPLY = Uniform(1, 10)
_STEPS = Uniform(5, 40)
_APPEND = LogNormal(260, 1.4, cap=32000)
_OUTPUT = LogNormal(180, 1.2, cap=8000)
_TOOLS = Tools(
    (
        ToolKind(0.85, LogNormal(0.04, 0.6), ((0.6, "read"), (0.4, "bash"))),
        ToolKind(0.15, LogNormal(2.5, 1.2), ((0.5, "bash"), (0.5, "web"))),
    )
)
"""Latencies are from the logs; names are assumptions, see `ToolKind`."""


@dataclass(frozen=True, slots=True)
class _Heartbeat:
    """How an agent wakes.

    The cap applies to the period, so that the longest jittered wait is the cap: if waits were capped one by one they
    would all be equal, and agents that should wake at different times would wake together.
    """

    period_s: float
    is_capped: bool
    is_synchronised: bool

    @classmethod
    def of(cls, scales: Scales) -> _Heartbeat:
        wanted_s, most_s = HEARTBEAT_S * scales.time, scales.pause_cap_s / (1 + _JITTER)
        return cls(min(wanted_s, most_s), wanted_s > most_s, scales.synchronised)

    def turn(self, num_new: int, num_output: int, random: Random, *, is_first: bool) -> Turn:
        """A wake. An agent's first comes after a random part of the period, so that agents are out of step."""
        pause_s, tick_s = 0.0, None
        if not self.is_synchronised:
            pause_s = self.period_s * (random.random() if is_first else random.uniform(1 - _JITTER, 1 + _JITTER))
        elif self.period_s > 0:
            tick_s = self.period_s
        return Turn(
            num_new,
            num_output,
            pause=Pause.HEARTBEAT,
            pause_s=pause_s,
            pause_was_capped=self.is_capped,
            tick_s=tick_s,
            compacts=True,
        )


def always_on(scales: Scales) -> SessionFactory:
    """An agent with its own standing context that wakes again and again (lengths and waits: OpenClaw logs).

    Each wake is a fresh conversation after the standing context, which the server may still have cached.
    By assumption, 80% of wakes end in a reply of at most 10 tokens; the others work for 5 to 40 steps.
    The heartbeat is 30 minutes from the end of one wake to the start of the next, jittered; synchronised agents
    (`Scales.synchronised`) wake together instead, at multiples of the period.
    """
    heartbeat = _Heartbeat.of(scales)

    def make(random: Random, session_id: str) -> Session:
        draw = SessionDrawer(random, scales)
        standing = draw.prefix(f"{session_id}/standing", _STANDING_CONTEXT)
        wakes, num_turns = draw.rounds(Constant(NUM_WAKES))
        turns = (turn for wake in wakes for turn in _wake(draw, heartbeat, is_first=wake == 0))
        return Session(session_id, "always-on", tuple(islice(turns, num_turns)), standing)

    return make


def _wake(draw: SessionDrawer, heartbeat: _Heartbeat, *, is_first: bool) -> Iterator[Turn]:
    is_idle = draw.random.random() < IDLE_SHARE
    num_new, num_output = draw.input(Constant(_MESSAGE_TOKENS)), draw.output(_SHORT_REPLY if is_idle else _OUTPUT)
    yield heartbeat.turn(num_new, num_output, draw.random, is_first=is_first)
    if not is_idle:
        for _ in range(round(_STEPS.draw(draw.random))):
            yield draw.tool_turn(_APPEND, _OUTPUT, _TOOLS)
