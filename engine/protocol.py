"""The OpenAI wire types, shared by the server and the load generator's client. No torch, no I/O.

The annotations are the one source of what is accepted: msgspec validates requests by them, and `/openapi.json` is
generated from them. Fields with the word "extension" are not OpenAI's; they are spelled as vLLM spells them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

_Penalty = Annotated[float, Meta(ge=-2.0, le=2.0)]
_PositiveInt = Annotated[int, Meta(ge=1, le=2**31 - 1)]
_TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_StopString = Annotated[str, Meta(min_length=1, max_length=1024)]
_Name = Annotated[str, Meta(max_length=256)]
"""Of a model, function or user: four times what OpenAI takes for a function. Names come back in error messages."""
_MAX_MESSAGES = 16_384
"""Some 100 ms of templates; a year of a busy conversation."""
_MAX_PARTS = 4096
"""Of one message. OpenAI's own limit is 2,048."""
_MAX_TOOLS = 1024
"""In a request, and calls in a message. OpenAI takes 128 tools."""


class StreamOptions(Struct):
    """`include_usage`: send one more chunk with the token counts after the last token."""

    include_usage: bool = False


class SamplingFields(Struct, kw_only=True):
    """What both completion endpoints accept."""

    model: _Name | None = None
    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    max_tokens: _PositiveInt | None = None
    n: Annotated[int, Meta(ge=1, le=16)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    stop: _StopString | Annotated[list[_StopString], Meta(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logit_bias: dict[str, float] | None = None
    user: _Name | None = None
    # Extensions.
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    ignore_eos: bool | None = None
    session_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """The conversation that this request continues. Its KV is held for the next one (also as header X-Session-ID)."""
    next_tool: Annotated[str, Meta(max_length=256)] | None = None
    """With session_id: what the session will wait for after this answer. By default the tool that the answer calls."""
    expected_pause_s: Annotated[float, Meta(ge=0.0, le=86400.0)] | None = None
    """With session_id: how long it will wait."""
    end_session: bool | None = None
    """With session_id: no request follows this one."""
    stop_token_ids: Annotated[list[_TokenId], Meta(max_length=256)] | None = None


class FunctionCall(Struct):
    """A call of a tool. `arguments` is JSON text."""

    name: str
    arguments: str


class ToolCall(Struct, kw_only=True):
    """A tool call as an assistant message carries it."""

    id: _Name
    type: Literal["function"] = "function"
    function: FunctionCall


class ContentPart(Struct):
    """A piece of a message. Only text is supported."""

    type: Annotated[str, Meta(max_length=64)]
    text: str | None = None


class ChatMessage(Struct, kw_only=True, omit_defaults=True):
    """A message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[ContentPart], Meta(max_length=_MAX_PARTS)] | None = None
    name: _Name | None = None
    tool_calls: Annotated[list[ToolCall], Meta(max_length=_MAX_TOOLS)] | None = None
    tool_call_id: _Name | None = None


class FunctionDefinition(Struct, omit_defaults=True):
    """A tool's signature. `parameters` is a JSON schema."""

    name: _Name
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Struct):
    """A tool the model may call."""

    type: Literal["function"]
    function: FunctionDefinition


class ResponseFormat(Struct):
    """Only `text` is supported."""

    type: Annotated[str, Meta(max_length=64)]


class ChatCompletionRequest(SamplingFields, kw_only=True):
    """Body of `POST /v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=_MAX_MESSAGES)]
    max_completion_tokens: _PositiveInt | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Meta(max_length=_MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    # Known, so that they are refused and not silently ignored.
    functions: Any = None
    prediction: Any = None
    audio: Any = None


class CompletionRequest(SamplingFields, kw_only=True):
    """Body of `POST /v1/completions`."""

    prompt: str | Annotated[list[str | _TokenId | list[_TokenId]], Meta(min_length=1)]
    """Text, several texts, token ids, or several lists of them."""
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


class PromptTokensDetails(Struct):
    """Of the prompt's tokens, how many the prefix cache had."""

    cached_tokens: int = 0


class Usage(Struct, kw_only=True):
    """Token counts of a request."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails | None = None


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


class CompletionLogprobs(Struct):
    """Parallel lists, one entry a token. `text_offset` counts characters from the start of the text."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


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


class CompletionChoice(Struct, kw_only=True):
    """One answer, or its part of a chunk."""

    index: int = 0
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: str | None = None


class Completion(Struct, kw_only=True):
    """The answer of `/v1/completions`, whole or one server-sent event of it."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | msgspec.UnsetType | None = msgspec.UNSET


class ModelCard(Struct, kw_only=True):
    """A model this server has."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "abatch"
    max_model_len: int | None = None


class ModelList(Struct, kw_only=True):
    """The answer of `/v1/models`."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Health(Struct):
    """The answer of `/health`: 200 only with `ok`."""

    status: Literal["ok", "draining", "engine dead", "engine not responding"]


class SessionDeleted(Struct, kw_only=True):
    """The answer of `DELETE /v1/sessions/{id}`."""

    id: str
    object: Literal["session.deleted"] = "session.deleted"
    deleted: bool = True


class ErrorDetail(Struct, kw_only=True):
    """What went wrong, in OpenAI's words."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(Struct):
    """The body of every answer that is not a success."""

    error: ErrorDetail


DONE = b"data: [DONE]\n\n"
_encoder = msgspec.json.Encoder()


def encode(message: Struct) -> bytes:
    """A wire type as JSON."""
    return _encoder.encode(message)


def server_sent_event(message: Struct) -> bytes:
    """A wire type as one server-sent event."""
    return b"data: " + _encoder.encode(message) + b"\n\n"
