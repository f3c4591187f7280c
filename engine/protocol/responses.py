"""`POST /v1/responses`: requests, and the response that answers them. Its events are in `responses_stream.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from .fields import MAX_MESSAGES, MAX_PARTS, MAX_TOOLS, CommonFields, Name, PositiveInt

Kind = Annotated[str, Meta(max_length=64)]
"""The type of something of which there are more types than this server knows."""
CallId = Annotated[str, Meta(max_length=256)]


class InputPart(Struct):
    """A piece of a message or of a tool's output. Only text is supported."""

    type: Kind
    text: str | None = None
    refusal: str | None = None


class InputItem(Struct, kw_only=True):
    """An item of a conversation: a message (which needs no `type`), a call of a tool, its output, or reasoning."""

    type: Kind | None = None
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | Annotated[list[InputPart], Meta(max_length=MAX_PARTS)] | None = None
    call_id: CallId | None = None
    name: Name | None = None
    arguments: str | None = None
    output: str | Annotated[list[InputPart], Meta(max_length=MAX_PARTS)] | None = None


class ResponseTool(Struct, kw_only=True, omit_defaults=True):
    """A tool the model may call. Only functions are supported. `parameters` is a JSON schema."""

    type: Kind
    name: Name | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class TextFormat(Struct, kw_only=True, omit_defaults=True):
    """The form of the text: `text`, `json_object`, or `json_schema` with a schema."""

    type: Kind
    name: Name | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class TextConfig(Struct, kw_only=True):
    """How the text is to be written."""

    format: TextFormat | None = None


class ResponsesRequest(CommonFields, kw_only=True):
    """Body of `POST /v1/responses`."""

    input: str | Annotated[list[InputItem], Meta(min_length=1, max_length=MAX_MESSAGES)]
    instructions: str | None = None
    max_output_tokens: PositiveInt | None = None
    tools: Annotated[list[ResponseTool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    metadata: dict[str, Annotated[str, Meta(max_length=512)]] | None = None
    store: bool | None = None
    """Accepted, since true is the default of OpenAI's API; nothing is stored."""
    user: Name | None = None
    # Known, so that they are refused and not silently ignored.
    background: bool | None = None
    previous_response_id: Any = None
    conversation: Any = None
    prompt: Any = None
    include: Annotated[list[Kind], Meta(max_length=64)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


class OutputText(Struct, kw_only=True):
    """Text of a message."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] = msgspec.field(default_factory=list)
    logprobs: list[Any] = msgspec.field(default_factory=list)


ItemStatus = Literal["in_progress", "completed", "incomplete"]


class OutputMessage(Struct, kw_only=True, tag="message", tag_field="type"):
    """What the model said."""

    id: str
    role: Literal["assistant"] = "assistant"
    status: ItemStatus
    content: list[OutputText]


class OutputFunctionCall(Struct, kw_only=True, tag="function_call", tag_field="type"):
    """A tool the model called. `arguments` is JSON text; the tool's output names `call_id`."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus


class InputTokensDetails(Struct):
    """Of the input's tokens, how many the prefix cache had. All others are put into it."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(Struct):
    """Reasoning is not told apart from text, so it is none."""

    reasoning_tokens: int = 0


class ResponseUsage(Struct, kw_only=True):
    """Token counts of a response."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class IncompleteDetails(Struct):
    """Why a response ended before it was complete."""

    reason: Literal["max_output_tokens"]


class ResponseError(Struct):
    """Why a response failed."""

    code: str
    message: str


class Response(Struct, kw_only=True):
    """The answer of `/v1/responses`: first what was asked for, then what came of it."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    model: str
    output: list[OutputMessage | OutputFunctionCall]
    usage: ResponseUsage | None = None
    instructions: msgspec.Raw
    """As it was sent, like `tools` and `text`: encoded once, however often the response is sent."""
    tools: msgspec.Raw
    tool_choice: msgspec.Raw
    text: msgspec.Raw
    max_output_tokens: int | None = None
    metadata: dict[str, str]
    parallel_tool_calls: bool = True
    temperature: float = 1.0
    top_p: float = 1.0
    truncation: Literal["disabled"] = "disabled"
    background: Literal[False] = False
    store: Literal[False] = False
    previous_response_id: None = None
    user: str | None = None
