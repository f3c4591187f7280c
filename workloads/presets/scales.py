"""How a workload is scaled to fit a machine."""

from __future__ import annotations

from dataclasses import dataclass

from ...engine.errors import ConfigurationError
from .distributions import Distribution


@dataclass(frozen=True, slots=True)
class Scales:
    """Factors and overrides.

    Attributes:
        context: Factor on prompt lengths (prefixes, questions, tool results).
        time: Factor on pauses, and not on when sessions start.
        pause_cap_s: The longest pause.
        input_tokens: Replaces each turn's own number of new tokens.
        output_tokens: Replaces each turn's own output length.
        turns: Replaces each session's own number of turns.
        tool_pause_s: Replaces the latency of a step's tools; neither scaled nor capped.
        sub_agents: The share of coding agents' tool steps that run sub-agents instead.
        synchronised: Always-on agents wake together, at multiples of their period.
    """

    context: float = 1.0
    time: float = 1.0
    pause_cap_s: float = 10.0
    input_tokens: Distribution | None = None
    output_tokens: Distribution | None = None
    turns: Distribution | None = None
    tool_pause_s: Distribution | None = None
    sub_agents: float = 0.0
    synchronised: bool = False

    def __post_init__(self) -> None:
        for name, value in (("--context-scale", self.context), ("--time-scale", self.time)):
            if not 0 < value <= 1000:
                raise ConfigurationError(f"{name} must be above 0, not {value:g}")
        if not self.pause_cap_s >= 0:
            raise ConfigurationError(f"--pause-cap must be 0 or more, not {self.pause_cap_s:g}")
        if not 0 <= self.sub_agents <= 1:
            raise ConfigurationError(f"--sub-agents must be a share from 0 to 1, not {self.sub_agents:g}")
