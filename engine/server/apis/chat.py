"""`POST /v1/chat/completions`."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import cast

import msgspec
from aiohttp import web

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
from ...protocol.conversation import FunctionCall, ToolCall
from ...protocol.encoding import encode, server_sent_event
from ...protocol.usage import Usage
from ...session import SessionUse
from ..choices import Answer, ChoiceSpec, UsageCounter, collect, interleave
from ..exchange import read_body, stream_response
from ..front.json_bodies import aside
from ..generation import TextDelta, TokenText
from ..sessions import session_use
from ..state import STATE, ServerState
from ..tools.calls import ParsedToolCall, parse_whole
from ..tools.formats import ToolFormat
from .conversation import answers_to

_decoder = msgspec.json.Decoder(ChatCompletionRequest)


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """Continue a conversation."""
    state = request.app[STATE]
    body, num_bytes = await read_body(request, _decoder)
    state.check_request(body)
    session = session_use(request, body)
    specs = await answers_to(body, num_bytes, state, session)
    answer = _ChatAnswer(body, specs, state, session)
    return await (answer.stream(request) if body.stream else answer.whole())


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
