"""What conversations are made of: messages, tools and calls of tools."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from .fields import MAX_PARTS, MAX_TOOLS, Name


class FunctionCall(Struct):
    """A call of a tool. `arguments` is JSON text."""

    name: str
    arguments: str


class ToolCall(Struct, kw_only=True):
    """A tool call as an assistant message carries it."""

    id: Name
    type: Literal["function"] = "function"
    function: FunctionCall


class ContentPart(Struct):
    """A piece of a message: text, or words of refusal. Nothing else is supported."""

    type: Annotated[str, Meta(max_length=64)]
    text: str | None = None
    refusal: str | None = None


class ChatMessage(Struct, kw_only=True, omit_defaults=True):
    """A message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[ContentPart], Meta(max_length=MAX_PARTS)] | None = None
    name: Name | None = None
    tool_calls: Annotated[list[ToolCall], Meta(max_length=MAX_TOOLS)] | None = None
    tool_call_id: Name | None = None
    reasoning_content: str | None = None
    """What the assistant thought. Chat templates mostly leave it out."""


class FunctionDefinition(Struct, omit_defaults=True):
    """A tool's signature. `parameters` is a JSON schema."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Struct):
    """A tool the model may call."""

    type: Literal["function"]
    function: FunctionDefinition
