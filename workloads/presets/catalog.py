"""The named workloads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...engine.errors import ConfigurationError
from ..workload import ClosedLoop, OpenLoop, SessionFactory, Stream, Workload, drawn, mix
from .agents import chat, code_chat, office_agent, single_turn, tool_agent
from .always_on import always_on
from .coding_agent import coding_agent
from .scales import Scales

DEFAULT_WORKLOAD = "mixed"


def _chat_short(scales: Scales) -> Workload:
    """Short chats of a few turns, with Poisson arrivals."""
    return _single("chat-short", chat(scales), OpenLoop(2.0))


def _chat_bursty(scales: Scales) -> Workload:
    """Code chats with long questions and short answers, arriving in bursts."""
    return _single("chat-bursty", code_chat(scales), OpenLoop(2.0, "bursty"))


def _agent_coding(scales: Scales) -> Workload:
    """Coding agents: long contexts, fast and slow tools, a median of 45 requests each."""
    return _single("agent-coding", coding_agent(scales), ClosedLoop(8))


def _agent_office(scales: Scales) -> Workload:
    """Office agents: about 33 requests with short outputs, then one long answer."""
    return _single("agent-office", office_agent(scales), ClosedLoop(8))


def _agent_tools(scales: Scales) -> Workload:
    """Agents that call fast tools, about eleven requests each."""
    return _single("agent-tools", tool_agent(scales), ClosedLoop(8))


def _always_on(scales: Scales) -> Workload:
    """Agents that wake every 30 minutes; 80% of wakes (an assumption) end after a few tokens."""
    return _single("always-on", always_on(scales), ClosedLoop(16))


def _hol_probe(scales: Scales) -> Workload:
    """16 steady decoders and an 8k-token prefill every 2 s: do long prompts block short ones?"""
    # The overrides of lengths apply to the decoders only: without its long prefill the probe would probe nothing.
    fixed = replace(scales, input_tokens=None, output_tokens=None, turns=None)
    decoders = single_turn("decode", scales, input_tokens=64, output_tokens=512)
    prefills = single_turn("prefill", fixed, input_tokens=8000, output_tokens=16)
    streams = (
        Stream("decode", drawn("decode", decoders), ClosedLoop(16)),
        Stream("prefill", drawn("prefill", prefills), OpenLoop(0.5, "constant")),
    )
    return Workload("hol-probe", "", streams, verdict_class="decode")


def _mixed(scales: Scales) -> Workload:
    """50% short chats, 35% coding agents, 15% always-on agents; pauses scaled to 5%, agents' contexts to 10%."""
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
    "chat-bursty": _chat_bursty,
    "agent-coding": _agent_coding,
    "agent-office": _agent_office,
    "agent-tools": _agent_tools,
    "always-on": _always_on,
    "mixed": _mixed,
    "hol-probe": _hol_probe,
}


def make_workload(name: str, scales: Scales) -> Workload:
    """The named workload under the given scales, or several combined, such as `agent-tools,chat-short`.

    Raises:
        ConfigurationError: there is no such workload, or they cannot be combined.
    """
    names = [part.strip() for part in name.split(",")]
    for part in names:
        if part not in WORKLOADS:
            raise ConfigurationError(f"unknown workload {part!r}; choose from {', '.join(WORKLOADS)}")
        if names.count(part) > 1:
            raise ConfigurationError(f"workload {part!r} is given twice; raise its rate or concurrency instead")
    workloads = [replace(WORKLOADS[part](scales), description=describe(part)) for part in names]
    return workloads[0] if len(workloads) == 1 else _side_by_side(workloads)


def _side_by_side(workloads: list[Workload]) -> Workload:
    """All streams of several workloads, each at its own pace. The verdict is about chats, if there are any."""
    for workload in workloads:
        # Its shares are fractions of a single pace, and it has always-on agents of its own.
        if all(stream.share is not None for stream in workload.streams):
            raise ConfigurationError(f"{workload.name!r} is already a mix and cannot be combined with other workloads")
    streams = tuple(stream for workload in workloads for stream in workload.streams)
    has_chats = any(next(stream.sessions(0)).traffic_class == "chat" for stream in streams)
    return Workload(
        "+".join(workload.name for workload in workloads),
        "; ".join(workload.description for workload in workloads),
        streams,
        verdict_class="chat" if has_chats else "all",
    )


def describe(name: str) -> str:
    """One line about a workload."""
    return (WORKLOADS[name].__doc__ or "").rstrip(".")
