"""The Chat Completions API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...http.events import ERROR_EVENT, ServerSentEvent
from ..target import Call
from .api import AnswerReader, Piece, RequestSettings, TokenCounts, exact_length
from .content import add_content
from .end_mark import is_end_mark
from .failures import error_message
from .fields import KEEP_ALIVE, nested, says_something
from .names import API_PATHS

_NO_REASONS = frozenset(("", "null", "None"))


class _Delta(msgspec.Struct):
    """What may be content. Of tool calls only their presence matters: servers send them in pieces of all shapes."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    thinking: Any = None
    reasoning_details: Any = None
    refusal: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()
    function_call: msgspec.Raw = msgspec.Raw()
    audio: msgspec.Raw = msgspec.Raw()


class _Choice(msgspec.Struct):
    """The part of a chunk that matters for timing. Everything else is skipped unparsed."""

    delta: _Delta | list[Any] | None = None
    """PHP writes an empty object as a list."""
    message: _Delta | None = None
    """In place of `delta`: of an answer that is no stream, and the whole text again at the end of some streams."""
    text: str | None = None
    """In place of `delta`, as completions have it."""
    finish_reason: Any = None
    usage: msgspec.Raw = msgspec.Raw()
    """Where Moonshot has it."""
    error: msgspec.Raw = msgspec.Raw()
    """Where OpenRouter has what one of its providers said."""


class _OfGroq(msgspec.Struct):
    """What Groq says besides: token counts, and why a stream stops early."""

    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Chunk(msgspec.Struct):
    choices: list[_Choice | None] | msgspec.UnsetType | None = msgspec.UNSET
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    x_groq: _OfGroq | None = None


_chunk_decoder = msgspec.json.Decoder(_Chunk)


class ChatApi:
    """See `Api`."""

    name = "chat"
    path = API_PATHS[name]

    def headers(self, api_key: str | None) -> dict[str, str]:
        return {}

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
        return body | exact_length(call, settings)

    def reader(self) -> AnswerReader:
        return _Reader()

    def counts(self, usage: Mapping[str, Any]) -> TokenCounts:
        prompt, output = nested(usage, "prompt_tokens_details"), nested(usage, "completion_tokens_details")
        return TokenCounts(
            prompt=usage.get("prompt_tokens"),
            cached=_first(
                prompt.get("cached_tokens"), usage.get("prompt_cache_hit_tokens"), usage.get("cached_tokens")
            ),
            output=usage.get("completion_tokens"),
            reasoning=_first(output.get("reasoning_tokens"), usage.get("reasoning_tokens")),
        )


class _Reader:
    """See `AnswerReader`."""

    def __init__(self) -> None:
        self._has_deltas = False

    def read_event(self, event: ServerSentEvent) -> Piece:
        if event.name == ERROR_EVENT:
            return Piece(error=error_message(event.data))
        if is_end_mark(event.data):
            return Piece(is_end=True)
        if event.data.startswith(b"["):  # Gemini puts a failure into a list
            (alone,) = msgspec.json.decode(event.data, type=tuple[msgspec.Raw])
            return self.read_whole(bytes(alone))
        return self.read_whole(event.data)

    def read_whole(self, body: bytes) -> Piece:
        chunk = _chunk_decoder.decode(body)
        piece = Piece()
        if chunk.usage:
            piece.usage = bytes(chunk.usage)
        if chunk.x_groq is not None:
            _take_groq(chunk.x_groq, piece)
        if says_something(chunk.error):
            piece.error = error_message(body)
        elif chunk.choices is msgspec.UNSET:
            if not piece.usage:
                _read_without_choices(body, piece)
        elif chunk.choices is not None:
            for choice in chunk.choices:
                if choice is not None:
                    self._take_choice(choice, piece)
        return piece

    def _take_choice(self, choice: _Choice, piece: Piece) -> None:
        delta = choice.delta
        if type(delta) is _Delta:
            _take_delta(delta, piece)
            if piece.text:
                self._has_deltas = True
        elif delta:
            piece.is_in_doubt = True
        elif not self._has_deltas:
            if choice.message is not None:
                _take_delta(choice.message, piece)
            piece.text += choice.text or ""
        if (reason := choice.finish_reason) is not None:
            piece.finish_reason = _reason_in_words(reason) or piece.finish_reason
        if choice.usage:
            piece.usage = bytes(choice.usage)
        if choice.error and says_something(choice.error):
            piece.error = error_message(bytes(choice.error))


def _take_groq(said: _OfGroq, piece: Piece) -> None:
    if said.usage and not piece.usage:
        piece.usage = bytes(said.usage)
    if says_something(said.error):
        piece.error = error_message(bytes(said.error))


def _take_delta(delta: _Delta, piece: Piece) -> None:
    if type(delta.content) is str:
        piece.text += delta.content
    elif delta.content is not None:
        add_content(piece, delta.content)
    # Servers send the same thoughts under two names, for old clients and new ones.
    if reasoning := delta.reasoning_content or delta.reasoning or delta.thinking or delta.reasoning_details:
        add_content(piece, reasoning, is_reasoning=True)
    if delta.tool_calls or delta.function_call or delta.audio:
        for raw in (delta.tool_calls, delta.function_call, delta.audio):
            if says_something(raw):
                piece.num_other_chars += len(bytes(raw))
    if delta.refusal:
        piece.num_other_chars += len(delta.refusal)


def _read_without_choices(body: bytes, piece: Piece) -> None:
    """What an object says that is no chunk: a failure, a sign of life, or something that may have had text."""
    fields = msgspec.json.decode(body, type=dict[str, Any])
    kinds = (fields.get("object"), fields.get("type"))
    if "error" in kinds or (isinstance(fields.get("message"), str) and ("code" in fields or "status" in fields)):
        piece.error = error_message(body)
    elif fields and not any(isinstance(kind, str) and kind in KEEP_ALIVE for kind in kinds):
        piece.is_in_doubt = True


def _reason_in_words(reason: Any) -> str | None:
    """A finish reason of any type; None where it says that the answer goes on."""
    if isinstance(reason, str):
        return None if reason in _NO_REASONS else reason
    if isinstance(reason, Mapping):
        reason = reason.get("type", reason.get("reason"))
    return None if reason is None or reason is False else str(reason)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
