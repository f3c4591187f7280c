"""From a conversation to the answers that are to be generated, for every API that has conversations.

Each of them puts its request into the terms of chat completions, so that all understand and refuse the same.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...errors import RequestError, UnsupportedError
from ...protocol.chat import ChatCompletionRequest
from ...protocol.fields import CommonFields, JsonSchema, ResponseFormat
from ...protocol.messages import JsonFormat
from ...protocol.responses import TextFormat
from ...session import SessionUse
from ..choices import ChoiceSpec, choice_specs, stop_automaton
from ..generation import refuse_unsupported, sampling_params
from ..state import ServerState
from ..tools.forced import forced_functions
from ..tools.tiny_calls import is_free_text, is_time_to_call, num_calls, with_small_arguments
from .answer_reader import tools_of
from .template_messages import num_characters, template_arguments, template_messages


def common_fields(body: CommonFields) -> dict[str, Any]:
    """Those fields of a request that have the same name and meaning in every API."""
    return {name: getattr(body, name) for name in CommonFields.__struct_fields__}


def response_format(wanted: JsonFormat | TextFormat | None) -> ResponseFormat | None:
    """A form of the text as the APIs that are made of items have it, in the terms of chat completions."""
    return None if wanted is None else ResponseFormat(wanted.type, JsonSchema(schema=wanted.schema))


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
    lengths = [sum(map(num_characters, body.messages))]
    grammar = await _grammar(body, state)
    return await state.tokenize(num_bytes, lengths, lambda: _choices(body, state, session, grammar))


async def _grammar(body: ChatCompletionRequest, state: ServerState) -> str:
    """What the answer keeps to; a call that is asked for goes before a form of the text."""
    generator = state.generator
    functions, calls = forced_functions(body), (1, 1)
    if state.tiny_tool_calls:
        if functions is None and is_time_to_call(body):
            functions, calls = [tool.function for tool in body.tools or ()], num_calls(body)
        functions = None if functions is None else [*map(with_small_arguments, functions)]
        if functions is None and is_free_text(body):
            return await state.grammars.grammar_of_short_text(generator.engine.ready)
    if functions is None or state.tool_format is None:  # the latter is refused with the tools
        return await state.grammars.grammar_of(body.response_format, generator.engine.ready)
    tokens = generator.tokenizer.token_texts(state.tool_format.markers)
    return await state.grammars.grammar_of_call(
        state.tool_format, functions, tokens, generator.engine.ready, num_calls=calls
    )


async def prompt_of(body: ChatCompletionRequest, num_bytes: int, state: ServerState) -> list[int]:
    """The tokens of a conversation alone, for those who only count them.

    Raises:
        RequestError: the conversation cannot be read; `UnsupportedError` where it could be elsewhere.
    """
    lengths = [sum(map(num_characters, body.messages))]
    return await state.tokenize(num_bytes, lengths, lambda: _prompt_ids(body, state))


def _choices(
    body: ChatCompletionRequest, state: ServerState, session: SessionUse | None, grammar: str
) -> list[ChoiceSpec]:
    refuse_unsupported(body)
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
    messages = template_messages(body.messages, generator.tokenizer.template)
    return generator.encode_chat(messages, tools, **template_arguments(body))
