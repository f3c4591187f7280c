"""A request of the Responses API in the terms of chat completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import RequestError, UnsupportedError
from ...protocol.chat import ChatCompletionRequest
from ...protocol.conversation import ChatMessage, ContentPart, FunctionCall, FunctionDefinition, Tool, ToolCall
from ...protocol.responses import InputItem, InputPart, ResponsesRequest, ResponseTool
from .conversation import common_fields, response_format

_LOGPROBS = "message.output_text.logprobs"


def chat_request(body: ResponsesRequest) -> ChatCompletionRequest:
    """What a request asks for.

    Raises:
        RequestError: its items make no conversation; `UnsupportedError` where this server lacks what it asks for.
    """
    _refuse_unsupported(body)
    return ChatCompletionRequest(
        messages=_messages(body),
        max_completion_tokens=body.max_output_tokens,
        tools=None if body.tools is None else [_tool(tool) for tool in body.tools],
        tool_choice=_tool_choice(body.tool_choice),
        parallel_tool_calls=body.parallel_tool_calls,
        response_format=response_format(None if body.text is None else body.text.format),
        **common_fields(body),
    )


def _refuse_unsupported(body: ResponsesRequest) -> None:
    if body.background:
        raise UnsupportedError("background is not supported: wait for the answer, or stream it", param="background")
    for name in ("previous_response_id", "conversation", "prompt"):
        if getattr(body, name) is not None:
            raise UnsupportedError(
                f"{name} is not supported: this server stores nothing, so send the whole conversation as input",
                param=name,
            )
    if body.top_logprobs or _LOGPROBS in (body.include or ()):
        raise UnsupportedError(
            "log-probabilities are not supported here; /v1/chat/completions has them", param="top_logprobs"
        )


def _messages(body: ResponsesRequest) -> list[ChatMessage]:
    messages: list[ChatMessage] = []
    if body.instructions:
        messages.append(ChatMessage(role="system", content=body.instructions))
    num_instructions = len(messages)
    for item in [InputItem(role="user", content=body.input)] if isinstance(body.input, str) else body.input:
        _add(messages, item)
    if len(messages) == num_instructions:
        raise RequestError("input has no message", param="input")
    return messages


def _add(messages: list[ChatMessage], item: InputItem) -> None:
    match item.type or "message":
        case "message":
            if item.role is None or item.content is None:
                raise RequestError("an input item needs a type, or a role and content", param="input")
            messages.append(ChatMessage(role=item.role, content=_text(item.content)))
        case "function_call":
            if item.call_id is None or item.name is None or item.arguments is None:
                raise RequestError("a function_call needs call_id, name and arguments", param="input")
            call = ToolCall(id=item.call_id, function=FunctionCall(item.name, item.arguments))
            if not messages or messages[-1].role != "assistant":
                messages.append(ChatMessage(role="assistant"))
            # What the model said and called in one turn is one message, as it was when the model wrote it.
            messages[-1].tool_calls = [*(messages[-1].tool_calls or ()), call]
        case "function_call_output":
            if item.call_id is None or item.output is None:
                raise RequestError("a function_call_output needs call_id and output", param="input")
            messages.append(ChatMessage(role="tool", tool_call_id=item.call_id, content=_text(item.output)))
        case "reasoning":  # no chat template of ours takes it back
            pass
        case other:
            raise UnsupportedError(f"input items of type {other!r} are not supported", param="input")


def _text(content: str | Sequence[InputPart]) -> str | list[ContentPart]:
    return content if isinstance(content, str) else [ContentPart("text", _text_of(part)) for part in content]


def _text_of(part: InputPart) -> str:
    match part.type:
        case "input_text" | "output_text" | "text":
            text = part.text
        case "refusal":
            text = part.refusal
        case other:
            raise UnsupportedError(f"content parts of type {other!r} are not supported", param="input")
    if text is None:
        raise RequestError(f"a content part of type {part.type!r} needs its text", param="input")
    return text


def _tool(tool: ResponseTool) -> Tool:
    if tool.type != "function":
        raise UnsupportedError(f"tools of type {tool.type!r} are not supported: only functions are", param="tools")
    if not tool.name:
        raise RequestError("a function needs a name", param="tools")
    return Tool("function", FunctionDefinition(tool.name, tool.description, tool.parameters))


def _tool_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    if isinstance(choice, dict) and choice.get("type") == "function" and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice
