"""Chat completions."""

from __future__ import annotations

import msgspec

from ...protocol.chat import (
    AssistantMessage,
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionRequest,
    Delta,
)
from ...protocol.conversation import ChatMessage, FunctionCall, ToolCall
from ...protocol.encoding import DONE, encode, server_sent_event
from ...protocol.usage import PromptTokensDetails, Usage
from ...server.front.json_bodies import decode_json
from ..tool_calls import CallPart
from .api import MODEL, Asked, Outcome, event, names_of, words_of

_decoder = msgspec.json.Decoder(ChatCompletionRequest)


class ChatNull:
    """See `NullApi`."""

    path = "/v1/chat/completions"

    def asked(self, raw: bytes) -> Asked:
        body = decode_json(raw, _decoder)
        return Asked(
            words=words_of(*map(_texts, body.messages)),
            max_tokens=body.max_completion_tokens or body.max_tokens,
            is_stream=bool(body.stream),
            has_usage=body.wants_usage,
            tools=_tool_names(body),
        )

    def begin(self, *, is_text: bool) -> bytes:
        return b""

    def tokens(self, text: str) -> bytes:
        return server_sent_event(_chunk([ChatChunkChoice(delta=Delta(content=text))]))

    def call_part(self, part: CallPart) -> bytes:
        """The first chunk of a call has its id and name, the others only what they add."""
        call = part.call
        function = {"name": call.name, "arguments": part.arguments} if part.is_first else {"arguments": part.arguments}
        head = {"id": call.call_id, "type": "function"} if part.is_first else {}
        delta = {"tool_calls": [{"index": call.index, **head, "function": function}]}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return event(msgspec.to_builtins(_chunk([])) | {"choices": [choice]})

    def end(self, outcome: Outcome, *, has_usage: bool) -> bytes:
        last = _chunk([ChatChunkChoice(delta=Delta(), finish_reason=outcome.finish_reason)])
        counts = [_chunk([], usage_of(outcome))] * has_usage
        return b"".join(map(server_sent_event, [last, *counts])) + DONE

    def whole(self, outcome: Outcome) -> bytes:
        message = AssistantMessage(content=outcome.text or None)
        if outcome.calls:
            message.tool_calls = [
                ToolCall(id=call.call_id, function=FunctionCall(call.name, call.arguments)) for call in outcome.calls
            ]
        choice = ChatChoice(index=0, message=message, finish_reason=outcome.finish_reason)
        return encode(
            ChatCompletion(id="chatcmpl-null", created=0, model=MODEL, choices=[choice], usage=usage_of(outcome))
        )


def usage_of(outcome: Outcome) -> Usage:
    """Token counts as both completion APIs have them."""
    return Usage(
        prompt_tokens=outcome.prompt_tokens,
        completion_tokens=outcome.output_tokens,
        total_tokens=outcome.prompt_tokens + outcome.output_tokens,
        prompt_tokens_details=PromptTokensDetails(outcome.cached_tokens),
    )


def _chunk(choices: list[ChatChunkChoice], usage: Usage | msgspec.UnsetType = msgspec.UNSET) -> ChatCompletionChunk:
    return ChatCompletionChunk(id="chatcmpl-null", created=0, model=MODEL, choices=choices, usage=usage)


def _tool_names(body: ChatCompletionRequest) -> list[str]:
    choice = body.tool_choice
    if isinstance(choice, dict) and isinstance(choice.get("function"), dict):
        choice = choice | choice["function"]
    return names_of([{"name": tool.function.name} for tool in body.tools or ()], choice)


def _texts(message: ChatMessage) -> list[str | None]:
    content = message.content
    return [content] if isinstance(content, str) else [part.text for part in content or ()]
