"""The sessions that presets are made of: chats, agents that call tools, single questions."""

from __future__ import annotations

from random import Random

from ..session import Session
from ..workload import SessionFactory
from .distributions import Constant, Distribution, Geometric, LogNormal, Normal
from .scales import Scales
from .session_drawer import SessionDrawer
from .tools import ToolKind, Tools

ABOUT_11_CALLS = Geometric(11.84, cap=30)
"""Geometric, cut off at 30, with a mean of 11 after the cut. (One with a mean of 11 before has 10.4.)"""

_CHAT_TURNS = Geometric(2.35, cap=50)
_CHAT_THINK_S = LogNormal(45, 0.8)

_LOOK_UPS = Tools((ToolKind(1, LogNormal(0.3, 0.6), ((1, "lookup"),)),))
_OFFICE_TOOLS = Tools((ToolKind(1, LogNormal(0.3, 1.0, shift=0.25), ((1, "office"),)),), cap_s=18)
_OFFICE_PREFIX, _OFFICE_TASK = Constant(8000), Constant(800)


def chat(scales: Scales) -> SessionFactory:
    """Short questions and answers, with think time in between (Azure 2023 conversation trace, WildChat)."""
    return _chat(scales, LogNormal(400, 1.0, cap=4000), LogNormal(130, 0.8, cap=1000))


def code_chat(scales: Scales) -> SessionFactory:
    """Chats with the lengths of code completion: longer questions, very short answers (Azure 2023 code trace).

    The trace has no longest question. The cap of 32k, past the 99.8th percentile, spares models with short contexts.
    """
    return _chat(scales, LogNormal(1470, 1.0, cap=32000), LogNormal(13, 1.2, cap=1000))


def _chat(scales: Scales, question: Distribution, answer: Distribution) -> SessionFactory:
    def make(random: Random, session_id: str) -> Session:
        draw = SessionDrawer(random, scales)
        num_turns = draw.turns(_CHAT_TURNS)
        later = (draw.human_turn(question, answer, _CHAT_THINK_S) for _ in range(num_turns - 1))
        return Session(session_id, "chat", (draw.first_turn(question, answer), *later))

    return make


def tool_agent(scales: Scales) -> SessionFactory:
    """A customer-service agent: about eleven calls. After the first, half bring a tool's result and half a customer's
    message (tau-bench, BFCL). The length of messages (as for results) and their wait are assumptions.
    """
    output, new, think_s = LogNormal(55, 0.6), LogNormal(165, 0.8), LogNormal(2.0, 0.6)

    def make(random: Random, session_id: str) -> Session:
        draw = SessionDrawer(random, scales)
        num_turns = draw.turns(ABOUT_11_CALLS)
        turns = [draw.first_turn(new, output)]
        for _ in range(num_turns - 1):
            if random.random() < 0.5:
                turns.append(draw.tool_turn(new, output, _LOOK_UPS))
            else:
                turns.append(draw.human_turn(new, output, think_s))
        return Session(session_id, "agent", tuple(turns), draw.prefix("tool-agent", Constant(1500)))

    return make


def office_agent(scales: Scales) -> SessionFactory:
    """An agent at office work: one task, about 33 calls of a few tokens each, then a long answer (trie office_work).

    In the trace, prompts begin at 8.8k tokens; that all sessions share 8,000 of them is an assumption.
    """
    result, output, answer = LogNormal(250, 2.0, cap=7000), LogNormal(20, 1.2, cap=1000), LogNormal(1500, 0.3)

    def make(random: Random, session_id: str) -> Session:
        draw = SessionDrawer(random, scales)
        num_turns = draw.turns(Normal(33, 12, least=14, most=64))
        outputs = [*[output] * (num_turns - 1), answer]
        later = (draw.tool_turn(result, output, _OFFICE_TOOLS) for output in outputs[1:])
        turns = (draw.first_turn(_OFFICE_TASK, outputs[0]), *later)
        return Session(session_id, "agent", turns, draw.prefix("office-agent", _OFFICE_PREFIX))

    return make


def single_turn(traffic_class: str, scales: Scales, *, input_tokens: int, output_tokens: int) -> SessionFactory:
    """One question of fixed size, one answer of fixed size."""

    def make(random: Random, session_id: str) -> Session:
        draw = SessionDrawer(random, scales)
        return Session(session_id, traffic_class, (draw.first_turn(Constant(input_tokens), Constant(output_tokens)),))

    return make
