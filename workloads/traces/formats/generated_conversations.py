"""vLLM's generate_conversations: not a recording, but the distributions conversations are to be drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Annotated, Literal

import msgspec

from ...session import Pause, Session, SharedPrefix, Turn
from ..parsing.bounds import MOST_TOKENS
from ..parsing.format import TraceFormat, has_keys
from ..parsing.numpy_distributions import AnyDistribution, ConstantNumber
from ..parsing.rows import Reading, Row
from ..parsing.session_ids import numbered_id


class _Input(msgspec.Struct):
    num_turns: AnyDistribution
    num_tokens: AnyDistribution
    prefix_num_tokens: AnyDistribution
    common_prefix_num_tokens: AnyDistribution = ConstantNumber(0)


class _Output(msgspec.Struct):
    num_tokens: AnyDistribution


class _Recipe(msgspec.Struct):
    filetype: Literal["generate_conversations"]
    num_conversations: Annotated[int, msgspec.Meta(ge=1, le=MOST_TOKENS)]
    prompt_input: _Input
    prompt_output: _Output


def _drawn(recipe: _Recipe) -> Iterator[Session]:
    """The conversations, the same each time. What they say is noise: its `text_files` are not read.

    `num_turns` counts messages, questions and answers, so there are half as many requests. The common prefix is part
    of the first question's tokens, the prefix of its own comes on top.
    """
    random = Random("generate_conversations")
    source = recipe.prompt_input
    common = _whole(source.common_prefix_num_tokens, random)
    prefix = SharedPrefix("generate_conversations", common) if common else None
    for number in range(recipe.num_conversations):
        num_requests = (_whole(source.num_turns, random) + 1) // 2
        first_tokens = max(1, _whole(source.num_tokens, random) - common) + _whole(source.prefix_num_tokens, random)
        inputs = [first_tokens, *(_whole(source.num_tokens, random) for _ in range(num_requests - 1))]
        turns = tuple(
            Turn(
                max(1, num_input),
                max(1, _whole(recipe.prompt_output.num_tokens, random)),
                pause=Pause.HUMAN if index else Pause.NONE,
            )
            for index, num_input in enumerate(inputs)
        )
        yield Session(numbered_id("generated", number), "chat", turns, prefix)


def _whole(distribution: AnyDistribution, random: Random) -> int:
    return round(distribution.draw(random))


def _sessions(reading: Reading) -> Iterator[Session]:
    decoder = msgspec.json.Decoder(_Recipe)

    def parse(row: Row) -> _Recipe:
        return decoder.decode(row.data)

    for recipe in reading.parsed(reading.values(), parse):
        yield from _drawn(recipe)


FORMAT = TraceFormat(
    "vLLM generate_conversations: JSON with num_conversations, prompt_input, prompt_output",
    has_keys("filetype", "prompt_input"),
    _sessions,
    has_timestamps=False,
)
