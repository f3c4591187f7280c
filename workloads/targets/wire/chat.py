"""The Chat Completions API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...http.events import ERROR_EVENT, ServerSentEvent
from ..target import Call
from .api import AnswerReader, Piece, RequestSettings, TokenCounts
from .failures import error_message

_DONE = b"[DONE]"
_NO_TOOL_CALLS = (b"null", b"[]")


class _Delta(msgspec.Struct):
    """What may count as content. Only the presence of tool calls matters: servers send them in pieces of all shapes."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()


class _Choice(msgspec.Struct):
    """The part of a chunk that matters for timing. Everything else is skipped unparsed."""

    delta: _Delta | None = None
    message: _Delta | None = None
    """In place of `delta`, where the answer is no stream."""
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_chunk_decoder = msgspec.json.Decoder(_Chunk)


class ChatApi:
    """See `Api`."""

    name = "chat"
    path = "chat/completions"

    def body(self, call: Call, settings: RequestSettings) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": call.messages,
            settings.max_tokens_field or "max_tokens": call.max_tokens,
            "temperature": 0.0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if call.seed is not None:
            body["seed"] = call.seed
        if call.ignore_eos and settings.takes_ignore_eos:
            # min_tokens too: an ignored end-of-sequence token has no text, so it would hide a gap.
            body |= {"ignore_eos": True, "min_tokens": call.max_tokens}
        return body

    def reader(self) -> AnswerReader:
        return _Reader()

    def counts(self, usage: Mapping[str, Any]) -> TokenCounts:
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
        return TokenCounts(usage.get("prompt_tokens"), cached, usage.get("completion_tokens"))


class _Reader:
    """See `AnswerReader`."""

    def read_event(self, event: ServerSentEvent) -> Piece:
        if event.name == ERROR_EVENT:
            return Piece(error=error_message(event.data))
        if event.data.strip() == _DONE:
            return Piece(is_end=True)
        return self.read_whole(event.data)

    def read_whole(self, body: bytes) -> Piece:
        chunk = _chunk_decoder.decode(body)
        piece = Piece()
        for choice in chunk.choices or ():
            if (delta := choice.delta or choice.message) is not None:
                piece.text += delta.content or ""
                piece.reasoning += delta.reasoning_content or delta.reasoning or ""
                if delta.tool_calls and (calls := bytes(delta.tool_calls)) not in _NO_TOOL_CALLS:
                    piece.num_other_chars += len(calls)
            piece.finish_reason = choice.finish_reason or piece.finish_reason
        piece.usage = bytes(chunk.usage)
        if chunk.error and bytes(chunk.error) != b"null":
            piece.error = error_message(body)
        return piece
