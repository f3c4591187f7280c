"""`POST /v1/chat/completions`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from .conversation import ChatMessage, FunctionCall, Tool, ToolCall
from .fields import MAX_MESSAGES, MAX_TOOLS, PositiveInt, SamplingFields
from .usage import Usage


class ChatCompletionRequest(SamplingFields, kw_only=True):
    """Body of `POST /v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: PositiveInt | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    # Extensions.
    chat_template_kwargs: dict[str, Any] | None = None
    """What the chat template is given besides, such as `enable_thinking`."""
    add_generation_prompt: bool | None = None
    """Begin a new message of the assistant. True by default."""
    continue_final_message: bool | None = None
    """Go on with the last message instead."""
    # Known, so that they are refused and not silently ignored.
    functions: Any = None
    prediction: Any = None
    audio: Any = None
    web_search_options: Any = None


class TopLogprob(Struct):
    """One of the most likely tokens at a position."""

    token: str
    logprob: float
    bytes: list[int]


class ChatLogprob(Struct):
    """The chosen token at a position, and the most likely ones."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Struct):
    """One entry a token."""

    content: list[ChatLogprob]


class AssistantMessage(Struct, kw_only=True):
    """What the model said."""

    role: Literal["assistant"] = "assistant"
    content: str | None = None
    tool_calls: list[ToolCall] | msgspec.UnsetType = msgspec.UNSET


class ChatChoice(Struct, kw_only=True):
    """One answer."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None


class ChatCompletion(Struct, kw_only=True):
    """The whole answer of `/v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class DeltaToolCall(Struct, kw_only=True):
    """A tool call in a stream. It always comes whole."""

    index: int
    id: str | None = None
    type: Literal["function"] = "function"
    function: FunctionCall


class Delta(Struct, kw_only=True, omit_defaults=True):
    """What a chunk adds. `reasoning_content` is read from other servers, never sent."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[DeltaToolCall] | None = None


class ChatChunkChoice(Struct, kw_only=True):
    """One answer's part of a chunk."""

    index: int = 0
    delta: Delta
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None


class ChatCompletionChunk(Struct, kw_only=True):
    """One server-sent event of `/v1/chat/completions`."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Usage | msgspec.UnsetType | None = msgspec.UNSET
