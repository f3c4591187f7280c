"""Coding agents: a long shared prefix, bursts of tool calls, human requests in between, and sub-agents."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice
from random import Random

from ..session import Pause, Session, Turn
from ..workload import SessionFactory
from .agents import ABOUT_11_CALLS
from .distributions import Constant, Distribution, LogNormal, Mixture, Uniform
from .scales import Scales
from .session_drawer import SessionDrawer
from .tools import ToolKind, Tools

SUB_AGENT = "sub-agent"

TOOLS_AT_ONCE = Mixture(
    ((873, Constant(1)), (80, Constant(2)), (28, Constant(3)), (14, Constant(4)), (3, Constant(5)), (2, Constant(6)))
)
"""Parallel calls per step. The weights are chosen to match the traces: mean 1.2, p90 2, p99 4."""

CODING_TOOLS = Tools(
    (
        ToolKind(0.588, LogNormal(0.109, 0.99), ((0.6, "read"), (0.4, "bash"))),
        ToolKind(0.319, LogNormal(3.53, 0.95), ((1.0, "bash"),)),
        ToolKind(0.094, LogNormal(46.6, 1.6), ((0.5, "bash"), (0.5, "web"))),
    ),
    at_once=TOOLS_AT_ONCE,
    cap_s=3600.0,
)
"""Coding agents' tools (latencies: TraceLab; names: assumptions, see `ToolKind`).

Heavy-tailed: most calls take a fraction of a second, and a few take most of the time.
"""

NUM_REQUESTS = LogNormal(8, 0.7)
"""Human requests per session. No trace records them. The distribution was fitted by simulation (among lognormal,
geometric and negative-binomial ones) so that model calls per session match the traces: it gives p50 44, p90 159 and
p99 331, where the traces have 45, 155 and 330.
"""

_PREFIX = Constant(15000)
_START = LogNormal(9000, 0.8, cap=100_000)
_APPEND = LogNormal(800, 1.3, cap=32000)
_OUTPUT = LogNormal(220, 1.1, cap=8000)
_EXTRA_STEPS = LogNormal(1.5, 1.75, cap=119)
_HUMAN_WAIT_S = LogNormal(84, 2.1)
_COMPACTION_SHARE = 0.007
_SUMMARY = LogNormal(3000, 0.5)
"""The length of a compacted conversation: an assumption."""
_SUB_AGENTS_AT_ONCE = Uniform(1, 3)


def coding_agent(scales: Scales) -> SessionFactory:
    """A coding agent (Claude Code traces by Weka, TraceLab).

    A human request takes one call plus a number of extra steps, each with tools' results. Any turn but the first may
    find the conversation compacted. A share of the steps (`Scales.sub_agents`) waits for sub-agents instead: one to
    three of about eleven calls, each with a context of its own that shares nothing.
    """

    def make(random: Random, session_id: str) -> Session:
        draw = SessionDrawer(random, scales)
        requests, num_turns = draw.rounds(NUM_REQUESTS)
        children = _sub_agents(draw, session_id)
        turns = (turn for request in requests for turn in _request(draw, children, is_first=request == 0))
        return Session(session_id, "agent", tuple(islice(turns, num_turns)), draw.prefix("coding-agent", _PREFIX))

    return make


def _request(draw: SessionDrawer, children: Iterator[Session], *, is_first: bool) -> Iterator[Turn]:
    """A human request and the steps that it takes."""
    if is_first:
        yield draw.first_turn(_START, _OUTPUT)
    else:
        new, is_compacted = _append(draw)
        yield replace(draw.human_turn(new, _OUTPUT, _HUMAN_WAIT_S), compacts=is_compacted)
    for _ in range(math.floor(_EXTRA_STEPS.draw(draw.random))):
        new, is_compacted = _append(draw)
        # Without sub-agents, draw nothing for them, so that the traffic is the same as without the option.
        if draw.scales.sub_agents and draw.random.random() < draw.scales.sub_agents:
            turn = _delegated(draw, new, children)
        else:
            turn = draw.tool_turn(new, _OUTPUT, CODING_TOOLS)
        yield replace(turn, compacts=is_compacted)


def _append(draw: SessionDrawer) -> tuple[Distribution, bool]:
    """What a turn adds to the conversation, and whether it replaces it."""
    is_compacted = draw.random.random() < _COMPACTION_SHARE
    return _SUMMARY if is_compacted else _APPEND, is_compacted


def _delegated(draw: SessionDrawer, new: Distribution, children: Iterator[Session]) -> Turn:
    """A turn that carries the results of sub-agents. How long they take depends on the server."""
    num_new, num_output = draw.input(new), draw.output(_OUTPUT)
    ours = tuple(islice(children, round(_SUB_AGENTS_AT_ONCE.draw(draw.random))))
    return Turn(num_new, num_output, pause=Pause.TOOL, tool=SUB_AGENT, num_tools=len(ours), children=ours)


def _sub_agents(draw: SessionDrawer, parent_id: str) -> Iterator[Session]:
    """A parent's sub-agents, one after another."""
    for number in count():
        num_turns = draw.turns(ABOUT_11_CALLS)
        later = (draw.tool_turn(_APPEND, _OUTPUT, CODING_TOOLS) for _ in range(num_turns - 1))
        yield Session(f"{parent_id}/{number}", SUB_AGENT, (draw.first_turn(_START, _OUTPUT), *later))
