"""`POST /v1/messages`, Anthropic's Messages API: requests, messages, and the events of a stream."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from .fields import MAX_MESSAGES, MAX_PARTS, MAX_RESULT_PARTS, MAX_TOOLS, CommonFields, Name, PositiveInt, StopString

Kind = Annotated[str, Meta(max_length=64)]
"""The type of something of which there are more types than this server knows."""
BlockId = Annotated[str, Meta(max_length=256)]


class ResultBlock(Struct, kw_only=True):
    """A piece of a tool's result, or of the system prompt. Only text is supported."""

    type: Kind
    text: str | None = None


class InputBlock(Struct, kw_only=True):
    """A piece of a message: text, a call of a tool (`tool_use`), its result (`tool_result`), or thinking."""

    type: Kind
    text: str | None = None
    id: BlockId | None = None
    name: Name | None = None
    input: dict[str, Any] | None = None
    tool_use_id: BlockId | None = None
    content: str | Annotated[list[ResultBlock], Meta(max_length=MAX_RESULT_PARTS)] | None = None


class InputMessage(Struct, kw_only=True):
    """A message of a conversation. Results of tools come from the user."""

    role: Literal["user", "assistant", "system"]
    content: str | Annotated[list[InputBlock], Meta(max_length=MAX_PARTS)]


class MessagesTool(Struct, kw_only=True):
    """A tool the model may call. `input_schema` is a JSON schema. Tools of Anthropic's own are not supported."""

    name: Name
    type: Kind | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class ToolChoice(Struct, kw_only=True):
    """Whether tools are called: `auto`, `none`, `any`, or `tool` with a name."""

    type: Kind
    name: Name | None = None
    disable_parallel_tool_use: bool | None = None


class JsonFormat(Struct, kw_only=True):
    """The form of the text: `json_schema` with a schema."""

    type: Kind
    schema: dict[str, Any] | None = None


class OutputConfig(Struct, kw_only=True):
    """How the answer is to be written."""

    format: JsonFormat | None = None


class CountTokensRequest(CommonFields, kw_only=True):
    """Body of `POST /v1/messages/count_tokens`: what makes up a prompt. How answers are sampled does not matter."""

    messages: Annotated[list[InputMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    system: str | Annotated[list[ResultBlock], Meta(max_length=MAX_RESULT_PARTS)] | None = None
    tools: Annotated[list[MessagesTool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None


class MessagesRequest(CountTokensRequest, kw_only=True):
    """Body of `POST /v1/messages`."""

    max_tokens: PositiveInt
    stop_sequences: Annotated[list[StopString], Meta(max_length=16)] | None = None
    output_config: OutputConfig | None = None
    # Known, so that they are refused and not silently ignored.
    mcp_servers: Annotated[list[Any], Meta(max_length=64)] | None = None


class TokenCount(Struct):
    """The answer of `/v1/messages/count_tokens`."""

    input_tokens: int


class TextBlock(Struct, kw_only=True, tag="text", tag_field="type"):
    """Text that the model said."""

    text: str


class ToolUseBlock(Struct, kw_only=True, tag="tool_use", tag_field="type"):
    """A tool that the model called. `input` is an object."""

    id: str
    name: str
    input: msgspec.Raw


class MessagesUsage(Struct, kw_only=True):
    """Token counts. What the prefix cache had is not among `input_tokens`."""

    input_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int


StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class Message(Struct, kw_only=True):
    """The answer of `/v1/messages`. Without `stop_reason` it is about to be generated."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[TextBlock | ToolUseBlock]
    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    usage: MessagesUsage


class MessageStart(Struct, kw_only=True):
    """A stream's first event."""

    type: Literal["message_start"] = "message_start"
    message: Message


class Ping(Struct, kw_only=True):
    """Nothing but a sign of life."""

    type: Literal["ping"] = "ping"


class ContentBlockStart(Struct, kw_only=True):
    """A block begins, empty."""

    type: Literal["content_block_start"] = "content_block_start"
    index: int
    content_block: TextBlock | ToolUseBlock


class TextDelta(Struct, kw_only=True, tag="text_delta", tag_field="type"):
    """Text that a block gains."""

    text: str


class InputJsonDelta(Struct, kw_only=True, tag="input_json_delta", tag_field="type"):
    """Input that a call gains. It always comes whole."""

    partial_json: str


class ContentBlockDelta(Struct, kw_only=True):
    """What a block gains."""

    type: Literal["content_block_delta"] = "content_block_delta"
    index: int
    delta: TextDelta | InputJsonDelta


class ContentBlockStop(Struct, kw_only=True):
    """A block is whole."""

    type: Literal["content_block_stop"] = "content_block_stop"
    index: int


class StopDelta(Struct, kw_only=True):
    """Why the message ended."""

    stop_reason: StopReason
    stop_sequence: str | None = None


class MessageDelta(Struct, kw_only=True):
    """How the message ended, with the counts of all of it."""

    type: Literal["message_delta"] = "message_delta"
    delta: StopDelta
    usage: MessagesUsage


class MessageStop(Struct, kw_only=True):
    """A stream's last event."""

    type: Literal["message_stop"] = "message_stop"
