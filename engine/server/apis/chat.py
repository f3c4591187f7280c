"""`POST /v1/chat/completions`."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

import msgspec
from aiohttp import web
from msgspec.structs import replace

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
from ...request import FinishReason
from ...session import SessionUse
from ..choices import Answer, ChoiceSpec, UsageCounter, collect, interleave
from ..exchange import read_body, stream_response
from ..front.json_bodies import aside
from ..generation import TextDelta, TokenText
from ..sessions import session_use
from ..state import STATE, ServerState
from ..tools.calls import ParsedToolCall, parse_whole
from ..tools.formats import ToolFormat
from .answer_reader import AnswerReader, tell_of_tools, tools_of
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
        self._tools = tools_of(body, state)
        self._wants_logprobs = bool(body.logprobs)
        self._wants_usage = body.wants_usage
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
                names = [call.function.name for call in choice.message.tool_calls]
                tell_of_tools(self._state, self._session, names)
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
            reason = _reason(reason, has_calls=True)
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
        no_usage = None if self._wants_usage else msgspec.UNSET
        async for spec, delta in deltas:
            usage.add(spec, delta)
            stream = streams[spec.index]
            choice = stream.choice(delta)
            if choice.finish_reason is not None:
                tell_of_tools(self._state, self._session, stream.tool_names)
            if self._wants_logprobs:
                choice.logprobs = ChatLogprobs(list(map(_logprob, delta.logprobs)))
            if choice.delta != _NOTHING or choice.finish_reason or delta.logprobs:
                for part in _apart(choice):
                    yield server_sent_event(self._chunk([part], no_usage))
        if self._wants_usage:
            yield server_sent_event(self._chunk([], usage.usage()))

    def _chunk(self, choices: list[ChatChunkChoice], usage: Usage | msgspec.UnsetType | None) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            id=self._id, created=self._created, model=self._state.model_name, choices=choices, usage=usage
        )


def _logprob(token: TokenText) -> ChatLogprob:
    top = [TopLogprob(text, logprob, list(text.encode())) for text, logprob in token.top]
    return ChatLogprob(token.text, token.logprob, list(token.text.encode()), top)


def _reason(reason: str | None, *, has_calls: bool) -> str | None:
    """Why an answer ended, as this endpoint has it. One that was cut off may lack calls: it says so."""
    return "tool_calls" if has_calls and reason == FinishReason.STOP else reason


def _apart(choice: ChatChunkChoice) -> list[ChatChunkChoice]:
    """Calls and the finish reason behind them in chunks of their own, as OpenAI sends them.

    Its client takes a call for done once the next chunk comes, and forgets one that comes with the finish reason.
    """
    if not choice.delta.tool_calls or choice.finish_reason is None:
        return [choice]
    end = ChatChunkChoice(index=choice.index, delta=Delta(), finish_reason=choice.finish_reason)
    return [replace(choice, finish_reason=None), end]


_NOTHING = Delta()


class _ChoiceStream:
    """Remembers what a streamed answer has sent already: its role, and any half-received tool call."""

    def __init__(self, index: int, tools: ToolFormat | None) -> None:
        self._index = index
        self._reader = AnswerReader(tools)
        self._has_role = False

    @property
    def tool_names(self) -> list[str]:
        """Of the calls so far."""
        return self._reader.tool_names

    def choice(self, delta: TextDelta) -> ChatChunkChoice:
        """A delta as this endpoint's part of a chunk."""
        first_call = len(self.tool_names)
        part = self._reader.read(delta)
        calls = [
            DeltaToolCall(index=index, id=call.call_id, function=FunctionCall(call.name, call.arguments))
            for index, call in enumerate(part.calls, first_call)
        ]
        wire = Delta(content=part.text or None, tool_calls=calls or None)
        if not self._has_role and (wire != _NOTHING or part.finish_reason is not None):
            self._has_role = True
            wire.role = "assistant"
        reason = _reason(part.finish_reason, has_calls=bool(self.tool_names))
        return ChatChunkChoice(index=self._index, delta=wire, finish_reason=reason)
