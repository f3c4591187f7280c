"""Answering with one answer, whole or streamed, for the APIs whose answers are made of items.

Their writer makes the events of a stream; a whole answer is what has been written when the last event is made.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Protocol

from aiohttp import web
from msgspec import Struct

from ...protocol.encoding import encode, named_event
from ...protocol.usage import Usage
from ..choices import ChoiceSpec, UsageCounter, interleave
from ..exchange import stream_response
from ..front.json_bodies import aside
from ..generation import TextDelta
from ..state import ServerState
from .answer_reader import AnswerPart, AnswerReader, tell_of_tools


class AnswerWriter(Protocol):
    """Puts one answer into an API's events and into its whole form."""

    def begin(self, num_prompt_tokens: int, num_cached_tokens: int) -> Sequence[Struct]:
        """The events before the first part."""

    def add(self, part: AnswerPart) -> Sequence[Struct]:
        """The events that a part makes."""

    def end(self, part: AnswerPart, usage: Usage) -> Sequence[Struct]:
        """The events behind the last part, which has been added."""

    def fail(self, error: Exception) -> Sequence[Struct]:
        """The events in place of the rest."""

    def whole(self) -> Struct:
        """The answer, once it has ended."""

    @property
    def num_characters(self) -> int:
        """About how long it is."""


class SingleAnswer:
    """One answer that is about to be generated."""

    def __init__(
        self, specs: Sequence[ChoiceSpec], reader: AnswerReader, writer: AnswerWriter, state: ServerState
    ) -> None:
        self._specs = specs
        self._reader = reader
        self._writer = writer
        self._state = state

    async def whole(self) -> web.Response:
        """One JSON answer at the end."""
        async with interleave(self._state, self._specs) as deltas, aclosing(self._batches(deltas)) as batches:
            async for _ in batches:
                pass
        body = await aside(self._writer.num_characters, lambda: encode(self._writer.whole()))
        return web.Response(body=body, content_type="application/json")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events as tokens come."""
        async with interleave(self._state, self._specs) as deltas, aclosing(self._events(deltas)) as events:
            return await stream_response(
                request, events, end=b"", error_event=lambda error: _encoded(self._writer.fail(error))
            )

    async def _events(self, deltas: AsyncIterator[tuple[ChoiceSpec, TextDelta]]) -> AsyncGenerator[bytes]:
        async with aclosing(self._batches(deltas)) as batches:
            async for batch in batches:
                yield _encoded(batch)

    async def _batches(self, deltas: AsyncIterator[tuple[ChoiceSpec, TextDelta]]) -> AsyncGenerator[Sequence[Struct]]:
        """The events of each delta that makes any."""
        usage = UsageCounter.of(self._specs)
        has_begun = False
        async for spec, delta in deltas:
            usage.add(spec, delta)
            batch: list[Struct] = []
            if not has_begun:
                has_begun = True
                batch += self._writer.begin(usage.num_prompt, delta.num_cached_tokens)
            part = self._reader.read(delta)
            batch += self._writer.add(part)
            if part.finish_reason is not None:
                tell_of_tools(self._state, spec.session, self._reader.tool_names)
                batch += self._writer.end(part, usage.usage())
            if batch:
                yield batch


def _encoded(events: Sequence[Struct]) -> bytes:
    return b"".join(map(named_event, events))
