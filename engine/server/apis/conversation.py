"""From a conversation to the answers that are to be generated, for every API that has conversations.

Each of them puts its request into the terms of chat completions, so that all understand and refuse the same.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...errors import RequestError, UnsupportedError
from ...protocol.chat import ChatCompletionRequest
from ...protocol.conversation import ChatMessage, FunctionCall
from ...protocol.fields import CommonFields
from ...session import SessionUse
from ..choices import ChoiceSpec, choice_specs, stop_automaton
from ..front.json_bodies import MOST_VALUES, JsonBudget
from ..generation import refuse_unsupported, sampling_params
from ..state import ServerState
from .answer_reader import tools_of


def common_fields(body: CommonFields) -> dict[str, Any]:
    """Those fields of a request that have the same name and meaning in every API."""
    return {name: getattr(body, name) for name in CommonFields.__struct_fields__}


async def answers_to(
    body: ChatCompletionRequest, num_bytes: int, state: ServerState, session: SessionUse | None
) -> list[ChoiceSpec]:
    """What is to be generated for a conversation.

    Args:
        body: The request, in the terms of chat completions.
        num_bytes: Of the body as it was sent.
        state: The server's.
        session: That the request is a turn of.

    Raises:
        RequestError: the conversation cannot be answered; `UnsupportedError` where it could be elsewhere.
    """
    num_characters = sum(map(_length, body.messages))
    grammar = await state.grammars.grammar_of(body.response_format, state.generator.engine.ready)
    return await state.tokenize(num_bytes, [num_characters], lambda: _choices(body, state, session, grammar))


async def prompt_of(body: ChatCompletionRequest, num_bytes: int, state: ServerState) -> list[int]:
    """The tokens of a conversation alone, for those who only count them.

    Raises:
        RequestError: the conversation cannot be read; `UnsupportedError` where it could be elsewhere.
    """
    num_characters = sum(map(_length, body.messages))
    return await state.tokenize(num_bytes, [num_characters], lambda: _prompt_ids(body, state))


def _choices(
    body: ChatCompletionRequest, state: ServerState, session: SessionUse | None, grammar: str
) -> list[ChoiceSpec]:
    refuse_unsupported(body)
    if body.tool_choice not in (None, "auto", "none"):
        raise UnsupportedError("tool_choice other than auto and none is not supported", param="tool_choice")
    for name in ("functions", "prediction", "audio"):
        if getattr(body, name) is not None:
            raise UnsupportedError(f"{name} is not supported", param=name)
    if body.top_logprobs and not body.logprobs:
        raise RequestError("top_logprobs needs logprobs: true", param="top_logprobs")
    generator = state.generator
    prompt_ids = _prompt_ids(body, state)
    sampling = sampling_params(
        body,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        num_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        num_prompt=len(prompt_ids),
        ready=generator.engine.ready,
        eos_token_ids=generator.eos_token_ids,
        grammar=grammar,
    )
    tools = tools_of(body, state)
    kept = generator.tokenizer.token_texts(tools.markers) if tools is not None else {}
    return choice_specs(0, prompt_ids, sampling, stop_automaton(body.stop), body.n or 1, session, kept)


def _prompt_ids(body: ChatCompletionRequest, state: ServerState) -> list[int]:
    generator = state.generator
    tools = msgspec.to_builtins(body.tools) if body.tools and body.tool_choice != "none" else None
    if tools and not generator.tokenizer.takes_tools:
        raise UnsupportedError("this model's chat template has no place for tools", param="tools")
    if tools and state.tool_format is None:
        raise UnsupportedError(
            "this server does not know how the model writes tool calls; --tool-format names a format, or none",
            param="tools",
        )
    arguments = JsonBudget(MOST_VALUES, "the arguments of tool calls")
    messages = [_template_message(message, arguments) for message in body.messages]
    return generator.encode_chat(messages, tools)


def _length(message: ChatMessage) -> int:
    """Characters that a message certainly puts into the prompt."""
    if isinstance(message.content, list):
        return sum(len(part.text or "") for part in message.content)
    return len(message.content or "")


def _template_message(message: ChatMessage, arguments: JsonBudget) -> dict[str, Any]:
    """A message as chat templates want it: content a string, arguments an object."""
    content = message.content
    if isinstance(content, list):
        for part in content:
            if part.type != "text":
                raise UnsupportedError(f"content parts of type {part.type!r} are not supported", param="messages")
            if part.text is None:
                raise RequestError("a content part of type 'text' needs a text", param="messages")
        content = "".join(part.text or "" for part in content)
    result: dict[str, Any] = {"role": message.role, "content": content or ""}
    if message.name is not None:
        result["name"] = message.name
    if message.tool_call_id is not None:
        result["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        result["tool_calls"] = [
            {"id": call.id, "type": "function", "function": _template_call(call.function, arguments)}
            for call in message.tool_calls
        ]
    return result


def _template_call(call: FunctionCall, arguments: JsonBudget) -> dict[str, Any]:
    arguments.spend(call.arguments.encode())
    try:
        return {"name": call.name, "arguments": msgspec.json.decode(call.arguments or "{}")}
    except msgspec.DecodeError:  # the model's own words, which need not be JSON
        return {"name": call.name, "arguments": call.arguments}
