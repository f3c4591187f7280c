"""Messages as a model's chat template wants them, and what an answer begins with."""

from __future__ import annotations

from typing import Any

import msgspec

from ...errors import RequestError, UnsupportedError
from ...protocol.chat import ChatCompletionRequest
from ...protocol.conversation import ChatMessage, FunctionCall
from ..front.json_bodies import MOST_VALUES, JsonBudget

_TEXT_PARTS = ("text", "input_text", "output_text")


def num_characters(message: ChatMessage) -> int:
    """Characters that a message certainly puts into the prompt."""
    if isinstance(message.content, list):
        return sum(len(part.text or "") for part in message.content)
    return len(message.content or "")


def template_messages(messages: list[ChatMessage], template: str) -> list[dict[str, Any]]:
    """Messages as a template wants them: content a string, arguments an object.

    A template that does not know the developer's role gets the system's, which it took the place of.

    Raises:
        RequestError: they cannot be read; `UnsupportedError` for parts other than text.
    """
    arguments = JsonBudget(MOST_VALUES, "the arguments of tool calls")
    developer = "developer" if "developer" in template else "system"
    found = []
    for message in messages:
        result: dict[str, Any] = {
            "role": developer if message.role == "developer" else message.role,
            "content": _text(message) or "",  # templates join it to other text
        }
        for name in ("name", "tool_call_id", "reasoning_content"):
            if (value := getattr(message, name)) is not None:
                result[name] = value
        if message.tool_calls:
            result["tool_calls"] = [
                {"id": call.id, "type": "function", "function": _template_call(call.function, arguments)}
                for call in message.tool_calls
            ]
        found.append(result)
    return found


def template_arguments(body: ChatCompletionRequest) -> dict[str, Any]:
    """What the template is given besides messages and tools.

    Raises:
        RequestError: the answer is to go on with the last message, and to begin a new one.
    """
    continues = bool(body.continue_final_message)
    begins = not continues if body.add_generation_prompt is None else body.add_generation_prompt
    if continues and begins:
        raise RequestError(
            "continue_final_message goes on with the last message and add_generation_prompt begins a new one: "
            "give one of them",
            param="continue_final_message",
        )
    own = {"add_generation_prompt": begins, "continue_final_message": continues}
    return {"template_arguments": body.chat_template_kwargs or {}, **own}


def _text(message: ChatMessage) -> str | None:
    """Of all parts."""
    if not isinstance(message.content, list):
        return message.content
    texts = []
    for part in message.content:
        if part.type not in (*_TEXT_PARTS, "refusal"):
            raise UnsupportedError(f"content parts of type {part.type!r} are not supported", param="messages")
        text = part.refusal if part.type == "refusal" else part.text
        if text is None:
            name = "refusal" if part.type == "refusal" else "text"
            raise RequestError(f"a content part of type {part.type!r} needs a {name}", param="messages")
        texts.append(text)
    return "".join(texts)


def _template_call(call: FunctionCall, arguments: JsonBudget) -> dict[str, Any]:
    arguments.spend(call.arguments.encode())
    try:
        return {"name": call.name, "arguments": msgspec.json.decode(call.arguments or "{}")}
    except msgspec.DecodeError:  # the model's own words, which need not be JSON
        return {"name": call.name, "arguments": call.arguments}
