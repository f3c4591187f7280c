"""A request of the Messages API in the terms of chat completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ...errors import RequestError, UnsupportedError
from ...protocol.chat import ChatCompletionRequest
from ...protocol.conversation import ChatMessage, ContentPart, FunctionCall, FunctionDefinition, Tool, ToolCall
from ...protocol.messages import (
    CountTokensRequest,
    InputBlock,
    MessagesRequest,
    MessagesTool,
    ResultBlock,
    ToolChoice,
)
from .conversation import common_fields, response_format


def chat_request(body: MessagesRequest) -> ChatCompletionRequest:
    """What a request asks for.

    Raises:
        RequestError: its messages make no conversation; `UnsupportedError` where this server lacks what it asks for.
    """
    if body.mcp_servers:
        raise UnsupportedError("mcp_servers is not supported", param="mcp_servers")
    if body.messages[-1].role == "assistant":
        raise UnsupportedError(
            "the last message is the assistant's, and answers that begin with given words are not supported: "
            "end with a user's message",
            param="messages",
        )
    choice, output = body.tool_choice, body.output_config
    return ChatCompletionRequest(
        **conversation(body),
        max_tokens=body.max_tokens,
        stop=body.stop_sequences or None,
        response_format=response_format(None if output is None else output.format),
        tool_choice=None if choice is None else _tool_choice(choice),
        parallel_tool_calls=False if choice is not None and choice.disable_parallel_tool_use else None,
        **common_fields(body),
    )


def conversation(body: CountTokensRequest) -> dict[str, Any]:
    """The messages and tools of a request, as fields of one for a chat completion."""
    messages: list[ChatMessage] = []
    if body.system:
        messages.append(ChatMessage(role="system", content=_texts(body.system)))
    for message in body.messages:
        if isinstance(message.content, str):
            messages.append(ChatMessage(role=message.role, content=message.content))
        elif message.role == "assistant":
            messages.append(_said(message.content))
        else:
            messages += _heard(message.role, message.content)
    return {"messages": messages, "tools": None if body.tools is None else [_tool(tool) for tool in body.tools]}


def _said(blocks: Sequence[InputBlock]) -> ChatMessage:
    """A message of the assistant. No chat template of ours takes its thoughts back."""
    parts: list[ContentPart] = []
    calls: list[ToolCall] = []
    for block in blocks:
        match block.type:
            case "text":
                parts.append(ContentPart("text", _text(block)))
            case "tool_use":
                if block.id is None or block.name is None or block.input is None:
                    raise RequestError("a tool_use block needs id, name and input", param="messages")
                arguments = msgspec.json.encode(block.input).decode()
                calls.append(ToolCall(id=block.id, function=FunctionCall(block.name, arguments)))
            case "thinking" | "redacted_thinking":
                pass
            case other:
                raise _unsupported(other)
    return ChatMessage(role="assistant", content=parts or None, tool_calls=calls or None)


def _heard(role: Any, blocks: Sequence[InputBlock]) -> list[ChatMessage]:
    """Messages of the user, in which results of tools are messages of their own."""
    messages: list[ChatMessage] = []
    parts: list[ContentPart] = []
    for block in blocks:
        match block.type:
            case "text":
                parts.append(ContentPart("text", _text(block)))
            case "tool_result":
                if block.tool_use_id is None:
                    raise RequestError("a tool_result block needs tool_use_id", param="messages")
                if parts:
                    messages.append(ChatMessage(role=role, content=parts))
                    parts = []
                content = _texts(block.content or "")
                messages.append(ChatMessage(role="tool", tool_call_id=block.tool_use_id, content=content))
            case other:
                raise _unsupported(other)
    if parts or not messages:
        messages.append(ChatMessage(role=role, content=parts))
    return messages


def _texts(content: str | Sequence[ResultBlock]) -> str | list[ContentPart]:
    if isinstance(content, str):
        return content
    for block in content:
        if block.type != "text":
            raise _unsupported(block.type)
    return [ContentPart("text", _text(block)) for block in content]


def _text(block: InputBlock | ResultBlock) -> str:
    if block.text is None:
        raise RequestError("a text block needs its text", param="messages")
    return block.text


def _unsupported(kind: str) -> UnsupportedError:
    return UnsupportedError(f"content blocks of type {kind!r} are not supported", param="messages")


def _tool(tool: MessagesTool) -> Tool:
    if tool.type not in (None, "custom"):
        raise UnsupportedError(f"tools of type {tool.type!r} are not supported: only your own are", param="tools")
    return Tool("function", FunctionDefinition(tool.name, tool.description, tool.input_schema))


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    match choice.type:
        case "any":
            return "required"
        case "tool":
            return {"type": "function", "function": {"name": choice.name or ""}}
        case other:
            return other
