"""`POST /v1/messages` and `/v1/messages/count_tokens`, Anthropic's Messages API."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import msgspec
from aiohttp import web
from msgspec import Struct

from ...protocol.chat import ChatCompletionRequest
from ...protocol.messages import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    CountTokensRequest,
    InputJsonDelta,
    Message,
    MessageDelta,
    MessagesRequest,
    MessageStart,
    MessageStop,
    MessagesUsage,
    Ping,
    StopDelta,
    StopReason,
    TextBlock,
    TextDelta,
    TokenCount,
    ToolUseBlock,
)
from ...protocol.usage import Usage
from ...request import FinishReason
from ..exchange import read_body
from ..front.answers import json_response
from ..front.error_forms import messages_error
from ..sessions import session_use
from ..state import STATE
from .answer_reader import AnswerPart, AnswerReader, ToolUse, tools_of
from .conversation import answers_to, prompt_of
from .messages_input import chat_request, conversation
from .single_answer import SingleAnswer

_decoder = msgspec.json.Decoder(MessagesRequest)
_count_decoder = msgspec.json.Decoder(CountTokensRequest)
_NO_INPUT = msgspec.Raw(b"{}")


async def messages(request: web.Request) -> web.StreamResponse:
    """Answer a conversation."""
    state = request.app[STATE]
    body, num_bytes = await read_body(request, _decoder)
    state.check_request(body)
    session = session_use(request, body)
    chat = await state.prepare(num_bytes, lambda: chat_request(body))
    specs = await answers_to(chat, num_bytes, state, session)
    answer = SingleAnswer(specs, AnswerReader(tools_of(chat, state)), MessageWriter(state.model_name), state)
    return await (answer.stream(request) if body.stream else answer.whole())


async def count_tokens(request: web.Request) -> web.Response:
    """Count the tokens of a conversation as `messages` would see it."""
    state = request.app[STATE]
    body, num_bytes = await read_body(request, _count_decoder)
    state.check_model(body.model)
    chat = await state.prepare(num_bytes, lambda: ChatCompletionRequest(**conversation(body)))
    return json_response(TokenCount(len(await prompt_of(chat, num_bytes, state))))


class MessageWriter:
    """Writes one message: its blocks, and the events that tell of them."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._id = f"msg_{uuid.uuid4().hex}"
        self._blocks: list[TextBlock | ToolUseBlock] = []
        self._texts: list[str] | None = None
        """Of the block that is open."""
        self._whole: Message | None = None
        self.num_characters = 0

    def begin(self, num_prompt_tokens: int, num_cached_tokens: int) -> Sequence[Struct]:
        usage = MessagesUsage(
            input_tokens=num_prompt_tokens - num_cached_tokens,
            cache_read_input_tokens=num_cached_tokens,
            output_tokens=0,
        )
        return [MessageStart(message=Message(id=self._id, model=self._model, content=[], usage=usage)), Ping()]

    def add(self, part: AnswerPart) -> Sequence[Struct]:
        self.num_characters += len(part.text)
        events: list[Struct] = []
        if part.text:
            if self._texts is None:
                self._texts = []
                events.append(ContentBlockStart(index=len(self._blocks), content_block=TextBlock(text="")))
            self._texts.append(part.text)
            events.append(ContentBlockDelta(index=len(self._blocks), delta=TextDelta(text=part.text)))
        for call in part.calls:
            self.num_characters += len(call.arguments)
            events += self._close_text()
            events += self._call(call)
        return events

    def end(self, part: AnswerPart, usage: Usage) -> Sequence[Struct]:
        events = [*self._close_text()]
        reason = self._stop_reason(part)
        stop_string = part.stop_string if reason == "stop_sequence" else None
        counts = _usage(usage)
        self._whole = Message(
            id=self._id,
            model=self._model,
            content=self._blocks,
            stop_reason=reason,
            stop_sequence=stop_string,
            usage=counts,
        )
        delta = StopDelta(stop_reason=reason, stop_sequence=stop_string)
        return [*events, MessageDelta(delta=delta, usage=counts), MessageStop()]

    def fail(self, error: Exception) -> Sequence[Struct]:
        return [messages_error(error)[0]]

    def whole(self) -> Struct:
        assert self._whole is not None, "the answer has not ended"
        return self._whole

    def _close_text(self) -> list[Struct]:
        """Nothing if no text is open."""
        if self._texts is None:
            return []
        self._blocks.append(TextBlock(text="".join(self._texts)))
        self._texts = None
        return [ContentBlockStop(index=len(self._blocks) - 1)]

    def _call(self, call: ToolUse) -> list[Struct]:
        index = len(self._blocks)
        self._blocks.append(ToolUseBlock(id=call.call_id, name=call.name, input=msgspec.Raw(call.arguments.encode())))
        begun = ToolUseBlock(id=call.call_id, name=call.name, input=_NO_INPUT)
        return [
            ContentBlockStart(index=index, content_block=begun),
            ContentBlockDelta(index=index, delta=InputJsonDelta(partial_json=call.arguments)),
            ContentBlockStop(index=index),
        ]

    def _stop_reason(self, part: AnswerPart) -> StopReason:
        if part.finish_reason is FinishReason.LENGTH:
            return "max_tokens"
        if any(isinstance(block, ToolUseBlock) for block in self._blocks):
            return "tool_use"
        return "stop_sequence" if part.stop_string is not None else "end_turn"


def _usage(usage: Usage) -> MessagesUsage:
    num_cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details is not None else 0
    return MessagesUsage(
        input_tokens=usage.prompt_tokens - num_cached,
        cache_read_input_tokens=num_cached,
        output_tokens=usage.completion_tokens,
    )
