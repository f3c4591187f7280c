"""Fits recorded sessions to a machine with scales and overrides."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from ..presets.distributions import draw_count
from ..presets.scales import Scales
from ..session import BlockPrompt, Pause, Session, SharedPrefix, Turn


def fit(session: Session, scales: Scales, random: Random) -> Session:
    """The session under these scales, including its sub-agents.

    Recorded text is never cut, whatever the scale: `text` and messages keep their token counts. An override of tool
    latency is neither scaled nor capped. Sessions start as recorded: that is for --trace-speed.
    """
    turns = session.turns if scales.turns is None else session.turns[: draw_count(scales.turns, random)]
    prefix = session.prefix
    return replace(
        session,
        turns=tuple(_fit_turn(turn, scales, random) for turn in turns),
        prefix=None if prefix is None else SharedPrefix(prefix.name, _scaled(prefix.tokens, scales)),
    )


def _fit_turn(turn: Turn, scales: Scales, random: Random) -> Turn:
    new_tokens, prompt = turn.new_tokens, turn.prompt
    if isinstance(prompt, BlockPrompt):
        new_tokens = _scaled(new_tokens, scales)
        block_tokens = prompt.block_tokens * scales.context
        prompt = replace(prompt, block_tokens=block_tokens, tokens=_scaled(prompt.tokens, scales))
    elif prompt is None and turn.text is None:
        override = scales.input_tokens
        new_tokens = _scaled(new_tokens, scales) if override is None else draw_count(override, random)
    pause_s, gap_s, was_capped = turn.pause_s * scales.time, turn.gap_s * scales.time, turn.pause_was_capped
    if turn.pause is Pause.TOOL and scales.tool_pause_s is not None:
        pause_s, gap_s, was_capped = scales.tool_pause_s.draw(random), 0.0, False
    else:
        was_capped = was_capped or max(pause_s, gap_s) > scales.pause_cap_s
        pause_s, gap_s = min(pause_s, scales.pause_cap_s), min(gap_s, scales.pause_cap_s)
    output_tokens = turn.output_tokens if scales.output_tokens is None else draw_count(scales.output_tokens, random)
    return replace(
        turn,
        new_tokens=new_tokens,
        output_tokens=output_tokens,
        pause_s=pause_s,
        pause_was_capped=was_capped,
        gap_s=gap_s,
        children=tuple(fit(child, scales, random) for child in turn.children),
        prompt=prompt,
    )


def _scaled(tokens: int, scales: Scales) -> int:
    return max(1, round(tokens * scales.context))
