"""`POST /v1/chat/completions`."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, cast

import msgspec
from aiohttp import web

from ...errors import RequestError, UnsupportedError
from ...protocol.chat import (
    AssistantMessage,
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionRequest,
    ChatLogprob,
    ChatLogprobs,
    Delta,
    DeltaToolCall,
    TopLogprob,
)
from ...protocol.conversation import ChatMessage, FunctionCall, ToolCall
from ...protocol.encoding import encode, server_sent_event
from ...protocol.usage import Usage
from ...session import SessionUse
from ..choices import Answer, ChoiceSpec, UsageCounter, choice_specs, collect, interleave, stop_automaton
from ..exchange import read_body, stream_response
from ..front.json_bodies import MOST_VALUES, JsonBudget, aside
from ..generation import TextDelta, TokenText, refuse_unsupported, sampling_params
from ..sessions import session_use
from ..state import STATE, ServerState
from ..tools.calls import ParsedToolCall, parse_whole
from ..tools.formats import ToolFormat

_decoder = msgspec.json.Decoder(ChatCompletionRequest)


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """Continue a conversation."""
    state = request.app[STATE]
    body, num_bytes = await read_body(request, _decoder)
    state.check_request(body)
    session = session_use(request, body)
    num_characters = sum(map(_length, body.messages))
    specs = await state.tokenize(num_bytes, [num_characters], lambda: _choices(body, state, session))
    answer = _ChatAnswer(body, specs, state, session)
    return await (answer.stream(request) if body.stream else answer.whole())


def _choices(body: ChatCompletionRequest, state: ServerState, session: SessionUse | None) -> list[ChoiceSpec]:
    refuse_unsupported(body)
    if body.response_format is not None and body.response_format.type != "text":
        raise UnsupportedError("response_format other than text is not supported", param="response_format")
    if body.tool_choice not in (None, "auto", "none"):
        raise UnsupportedError("tool_choice other than auto and none is not supported", param="tool_choice")
    if body.tools and body.tool_choice != "none" and not state.generator.tokenizer.takes_tools:
        raise UnsupportedError("this model's chat template has no place for tools", param="tools")
    for name in ("functions", "prediction", "audio"):
        if getattr(body, name) is not None:
            raise UnsupportedError(f"{name} is not supported", param=name)
    if body.top_logprobs and not body.logprobs:
        raise RequestError("top_logprobs needs logprobs: true", param="top_logprobs")
    generator = state.generator
    tools = msgspec.to_builtins(body.tools) if body.tools and body.tool_choice != "none" else None
    arguments = JsonBudget(MOST_VALUES, "the arguments of tool calls")
    messages = [_template_message(message, arguments) for message in body.messages]
    prompt_ids = generator.encode_chat(messages, tools)
    sampling = sampling_params(
        body,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        num_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        num_prompt=len(prompt_ids),
        ready=generator.engine.ready,
        eos_token_ids=generator.eos_token_ids,
    )
    return choice_specs(0, prompt_ids, sampling, stop_automaton(body.stop), body.n or 1, session)


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


class _ChatAnswer:
    """Turns deltas into this endpoint's wire types."""

    def __init__(
        self, body: ChatCompletionRequest, specs: list[ChoiceSpec], state: ServerState, session: SessionUse | None
    ) -> None:
        self._specs = specs
        self._session = session
        self._state = state
        self._tools = state.tool_format if body.tools and body.tool_choice != "none" else None
        self._wants_logprobs = bool(body.logprobs)
        self._include_usage = body.stream_options is not None and body.stream_options.include_usage
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())

    async def whole(self) -> web.Response:
        """One JSON answer at the end."""
        answers, usage = await collect(self._state, self._specs, lambda token: msgspec.Raw(encode(_logprob(token))))
        choices: list[ChatChoice] = []

        def encoded() -> bytes:
            choices.extend(map(self._choice, answers))
            return encode(
                ChatCompletion(
                    id=self._id,
                    created=self._created,
                    model=self._state.model_name,
                    choices=choices,
                    usage=usage,
                )
            )

        body = await aside(sum(len(answer.text) + len(answer.logprobs) for answer in answers), encoded)
        for choice in choices:
            if choice.message.tool_calls:
                self._tell_of_tools([call.function.name for call in choice.message.tool_calls])
        return web.Response(body=body, content_type="application/json")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events as tokens come."""
        async with interleave(self._state, self._specs) as deltas, aclosing(self._events(deltas)) as events:
            return await stream_response(request, events)

    def _choice(self, answer: Answer[msgspec.Raw]) -> ChatChoice:
        text, reason = answer.text, answer.finish_reason
        calls: list[ParsedToolCall] = []
        if self._tools is not None:
            text, calls = parse_whole(self._tools.parser(), text)
        message = AssistantMessage(content=text)
        if calls and self._tools is not None:
            message.content = text or None
            message.tool_calls = [
                ToolCall(id=self._tools.call_id(), function=FunctionCall(call.name, call.arguments)) for call in calls
            ]
            reason = "tool_calls"
        return ChatChoice(
            index=answer.spec.index,
            message=message,
            # Encoded before; the type says what they are.
            logprobs=ChatLogprobs(cast("list[ChatLogprob]", answer.logprobs)) if self._wants_logprobs else None,
            finish_reason=reason,
        )

    async def _events(self, deltas: AsyncIterator[tuple[ChoiceSpec, TextDelta]]) -> AsyncGenerator[bytes]:
        usage = UsageCounter.of(self._specs)
        streams = {spec.index: _ChoiceStream(spec.index, self._tools) for spec in self._specs}
        no_usage = None if self._include_usage else msgspec.UNSET
        async for spec, delta in deltas:
            usage.add(spec, delta)
            stream = streams[spec.index]
            choice = stream.choice(delta)
            if choice.finish_reason == "tool_calls":
                self._tell_of_tools(stream.tool_names)
            if self._wants_logprobs:
                choice.logprobs = ChatLogprobs(list(map(_logprob, delta.logprobs)))
            if choice.delta != _NOTHING or choice.finish_reason or delta.logprobs:
                yield server_sent_event(self._chunk([choice], no_usage))
        if self._include_usage:
            yield server_sent_event(self._chunk([], usage.usage()))

    def _tell_of_tools(self, names: Sequence[str]) -> None:
        """Several tools called at once are all waited for: together they count as one tool."""
        if self._session is not None and self._session.next_tool is None:
            self._state.generator.engine.tell(self._session.session_id, tool="+".join(sorted(set(names)))[:256])

    def _chunk(self, choices: list[ChatChunkChoice], usage: Usage | msgspec.UnsetType | None) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            id=self._id, created=self._created, model=self._state.model_name, choices=choices, usage=usage
        )


def _logprob(token: TokenText) -> ChatLogprob:
    top = [TopLogprob(text, logprob, list(text.encode())) for text, logprob in token.top]
    return ChatLogprob(token.text, token.logprob, list(token.text.encode()), top)


_NOTHING = Delta()


class _ChoiceStream:
    """Remembers what a streamed answer has sent already: its role, and any half-received tool call."""

    def __init__(self, index: int, tools: ToolFormat | None) -> None:
        self._index = index
        self._tools = tools
        self._parser = None if tools is None else tools.parser()
        self._has_role = False
        self.tool_names: list[str] = []
        """Of the calls so far."""

    def choice(self, delta: TextDelta) -> ChatChunkChoice:
        """A delta as this endpoint's part of a chunk."""
        text, reason = delta.text, delta.finish_reason
        calls: list[ParsedToolCall] = []
        finish: str | None = reason
        if self._parser is not None:
            text, calls = self._parser.add(text)
            if reason is not None:
                rest, last_calls = self._parser.flush()
                text, calls = text + rest, calls + last_calls
                finish = "tool_calls" if self._parser.num_calls else reason
        wire = Delta(content=text or None, tool_calls=self._delta_calls(calls) or None)
        if not self._has_role and (wire != _NOTHING or reason is not None):
            self._has_role = True
            wire.role = "assistant"
        return ChatChunkChoice(index=self._index, delta=wire, finish_reason=finish)

    def _delta_calls(self, calls: Sequence[ParsedToolCall]) -> list[DeltaToolCall]:
        if self._tools is None:
            return []
        first_index = len(self.tool_names)
        self.tool_names += [call.name for call in calls]
        return [
            DeltaToolCall(index=index, id=self._tools.call_id(), function=FunctionCall(call.name, call.arguments))
            for index, call in enumerate(calls, first_index)
        ]
