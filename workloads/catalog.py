"""The named workloads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..engine.errors import ConfigurationError
from .agents import always_on, chat, coding_agent, single_turn, tool_agent
from .scales import Scales
from .workload import ClosedLoop, OpenLoop, SessionFactory, Stream, Workload, drawn, mix

DEFAULT_WORKLOAD = "mixed"


def _chat_short(scales: Scales) -> Workload:
    """Short chats of a few turns, arriving at random."""
    return _single("chat-short", chat(scales), OpenLoop(2.0))


def _agent_tools(scales: Scales) -> Workload:
    """Agents that call quick tools, about eleven requests each."""
    return _single("agent-tools", tool_agent(scales), ClosedLoop(8))


def _hol_probe(scales: Scales) -> Workload:
    """16 steady decoders and an 8k-token prefill every 2 s: does the long one hold up the short ones?"""
    # The overrides of lengths are for the decoders: a probe without its long prefill would probe nothing.
    fixed = replace(scales, input_tokens=None, output_tokens=None, turns=None)
    decoders = single_turn("decode", scales, input_tokens=64, output_tokens=512)
    prefills = single_turn("prefill", fixed, input_tokens=8000, output_tokens=16)
    streams = (
        Stream("decode", drawn("decode", decoders), ClosedLoop(16)),
        Stream("prefill", drawn("prefill", prefills), OpenLoop(0.5, "constant")),
    )
    return Workload("hol-probe", "", streams, verdict_class="decode")


def _mixed(scales: Scales) -> Workload:
    """Half short chats, the rest coding and always-on agents; pauses at a twentieth, agents' context at a tenth."""
    quick = replace(scales, time=scales.time * 0.05)
    small = replace(quick, context=scales.context * 0.1)
    parts = [
        (0.50, "chat", drawn("chat", chat(quick))),
        (0.35, "agent", drawn("agent", coding_agent(small))),
        (0.15, "always-on", drawn("always-on", always_on(small))),
    ]
    return Workload("mixed", "", mix(ClosedLoop(56), parts), verdict_class="chat")


def _single(name: str, factory: SessionFactory, pacing: ClosedLoop | OpenLoop) -> Workload:
    return Workload(name, "", (Stream(name, drawn(name, factory), pacing),))


WORKLOADS: dict[str, Callable[[Scales], Workload]] = {
    "chat-short": _chat_short,
    "agent-tools": _agent_tools,
    "hol-probe": _hol_probe,
    "mixed": _mixed,
}


def make_workload(name: str, scales: Scales) -> Workload:
    """The named workload under the given scales.

    Raises:
        ConfigurationError: there is no such workload.
    """
    if name not in WORKLOADS:
        raise ConfigurationError(f"there is no workload {name!r}; choose one of {', '.join(WORKLOADS)}")
    return replace(WORKLOADS[name](scales), description=describe(name))


def describe(name: str) -> str:
    """One line about a workload."""
    return (WORKLOADS[name].__doc__ or "").rstrip(".")
