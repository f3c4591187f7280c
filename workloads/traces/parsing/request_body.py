"""The body of a recorded OpenAI request, and the turn it makes."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ....engine.protocol.conversation import ChatMessage
from ...session import Turn
from .bounds import OutputTokens
from .recorded_chat import NOTHING, UNSTATED_OUTPUT_TOKENS, MessageChain, last_pause
from .trace_error import BadRow

Messages = Annotated[list[ChatMessage], msgspec.Meta(min_length=1)]


class RequestBody(msgspec.Struct):
    """Of a body, what decides about lengths."""

    messages: Messages | None = None
    prompt: str | None = None
    tools: msgspec.Raw = NOTHING
    max_tokens: OutputTokens | None = None
    max_completion_tokens: OutputTokens | None = None


def body_turn(body: RequestBody, chain: MessageChain, field: str) -> Turn:
    """The turn of a request: its messages, or its prompt as the one message there is.

    Raises:
        BadRow: it has neither, or both.
    """
    if (body.messages is None) == (body.prompt is None):
        raise BadRow(field, "expected either messages or prompt")
    messages = body.messages or [ChatMessage(role="user", content=body.prompt)]
    prompt, new_tokens = chain.prompt(messages, body.tools)
    output_tokens = body.max_completion_tokens or body.max_tokens or UNSTATED_OUTPUT_TOKENS
    return Turn(new_tokens, output_tokens, pause=last_pause(messages), prompt=prompt)
