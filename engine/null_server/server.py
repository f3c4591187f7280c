"""The null server over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from aiohttp import web

from ..errors import RequestError
from ..hosting.descriptors import most_descriptors
from ..protocol.service import ModelCard, ModelList
from ..server.front.answers import error_response, errors_middleware, json_response
from ..server.front.bodies import BODIES, Bodies, BodyLimits, leave_continue_to_reading
from ..server.front.json_bodies import aside
from ..server.front.listening import Listening, base_url
from ..server.front.serving import HEALTH_PATH, serving
from .apis.api import MODEL, Asked, NullApi, Outcome
from .apis.chat import ChatNull
from .apis.completions import CompletionsNull
from .apis.messages import MessagesNull
from .apis.responses import ResponsesNull
from .behaviour import Answer, Behaviour, Fault, Prefill
from .prefill import PrefillQueue
from .tool_calls import CallPart, call_parts
from .truth import OnTruth, Truth

_MAX_BODY_BYTES = 4 << 20
"""As `abatch serve`: a million tokens of text."""
_DEFAULT_OUTPUT_TOKENS, _MAX_OUTPUT_TOKENS = 16, 100_000

_log = logging.getLogger("abatch.null_server")
_APIS: tuple[NullApi, ...] = (ChatNull(), CompletionsNull(), ResponsesNull(), MessagesNull())


@dataclass(slots=True)
class _Writing:
    """The part of an answer that has been written."""

    request_id: str
    arrived_s: float
    prompt_tokens: int
    cached_tokens: int
    chunk_s: list[float] = field(default_factory=list)
    output_tokens: int = 0
    fault: str | None = "cancelled"
    """Until it ends in another way."""

    def truth(self) -> Truth:
        times = self.chunk_s
        return Truth(
            request_id=self.request_id,
            arrived_s=self.arrived_s,
            end_s=times[-1] if times and self.fault is None else time.monotonic(),
            first_s=times[0] if times else None,
            gaps_us=[round((later - earlier) * 1e6) for earlier, later in itertools.pairwise(times)],
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            output_tokens=self.output_tokens,
            fault=self.fault,
        )


class NullServer:
    """Answers requests of every API as its behaviour says, streamed or whole. Serve `app`."""

    def __init__(self, behaviour: Behaviour, *, blocks: bool = False, on_truth: OnTruth | None = None) -> None:
        """`blocks`: freeze by blocking the server's own event loop; to its log, what came meanwhile came afterwards."""
        self._behaviour = replace(behaviour, freeze_at_s=None) if blocks else behaviour
        self._block = (behaviour.freeze_at_s, behaviour.freeze_for_s) if blocks else None
        self._on_truth = on_truth
        self._queue = PrefillQueue(self._behaviour)
        self._num_requests = 0
        self._first_s: float | None = None
        self.app = web.Application(middlewares=[errors_middleware(_log)])
        self.app[BODIES] = Bodies(BodyLimits(most_bytes=_MAX_BODY_BYTES))
        self.app.router.add_get(HEALTH_PATH, _health)
        self.app.router.add_get("/v1/models", _models)
        for api in _APIS:
            handler = partial(self._take, api)
            self.app.router.add_post(api.path, handler, expect_handler=leave_continue_to_reading)

    async def _take(self, api: NullApi, request: web.Request) -> web.StreamResponse:
        raw = await request.app[BODIES].read(request)
        arrived_s = time.monotonic()
        asked = await aside(len(raw), lambda: api.asked(raw))
        max_tokens = min(asked.max_tokens or _DEFAULT_OUTPUT_TOKENS, _MAX_OUTPUT_TOKENS)
        answer, prefill = self._answer(arrived_s, asked, max_tokens)
        request_id = request.headers.get("X-Request-ID", "")[:256]
        writing = _Writing(request_id, arrived_s, len(asked.words), prefill.cached_tokens)
        try:
            return await _write(request, api, asked, answer, writing)
        finally:
            if self._on_truth is not None:
                self._on_truth(writing.truth())

    def _answer(self, arrived_s: float, asked: Asked, max_tokens: int) -> tuple[Answer, Prefill]:
        """When each part is due. Times are on the monotonic clock."""
        if self._first_s is None:
            self._first_s = arrived_s
            if self._block is not None and self._block[0] is not None:
                asyncio.get_running_loop().call_later(self._block[0], time.sleep, self._block[1])
        number, self._num_requests = self._num_requests, self._num_requests + 1
        since_s = arrived_s - self._first_s
        prefill = self._queue.admit(since_s, asked.words)
        answer = self._behaviour.answer(
            number, since_s, len(asked.words), max_tokens, prefill, has_tools=bool(asked.tools)
        )
        answer = replace(
            answer,
            header_s=answer.header_s + self._first_s,
            chunk_s=tuple(at_s + self._first_s for at_s in answer.chunk_s),
        )
        return answer, prefill


async def _write(
    request: web.Request, api: NullApi, asked: Asked, answer: Answer, writing: _Writing
) -> web.StreamResponse:
    await _until(answer.header_s)
    if answer.fault is Fault.ERROR:
        writing.fault = answer.fault
        return error_response(RequestError("an error on purpose (--error-rate)", status=500))
    parts = call_parts(answer, asked.tools) if answer.num_calls else []
    outcome = Outcome(
        prompt_tokens=answer.prompt_tokens,
        cached_tokens=writing.cached_tokens,
        output_tokens=sum(answer.tokens),
        finish_reason=answer.finish_reason,
        text="" if parts else f"{answer.word} " * sum(answer.tokens),
        calls=[part.call for part in parts if part.is_first],
    )
    if not asked.is_stream:
        return await _write_whole(request, api, answer, outcome, writing)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    if beginning := api.begin(is_text=not parts):
        await response.write(beginning)
    await _write_chunks(request, response, answer, writing, _calls_in(api, parts) if parts else _texts_in(api, answer))
    if writing.fault is None:
        await response.write(api.end(outcome, has_usage=asked.has_usage))
    return response


def _texts_in(api: NullApi, answer: Answer) -> Iterator[bytes]:
    """The event of each chunk."""
    events: dict[int, bytes] = {}
    for num_tokens in answer.tokens:
        if num_tokens not in events:
            events[num_tokens] = api.tokens(f"{answer.word} " * num_tokens)
        yield events[num_tokens]


def _calls_in(api: NullApi, parts: Sequence[CallPart]) -> Iterator[bytes]:
    """Likewise, of an answer that is all calls."""
    return map(api.call_part, parts)


async def _write_chunks(
    request: web.Request, response: web.StreamResponse, answer: Answer, writing: _Writing, chunks: Iterable[bytes]
) -> None:
    """Send each chunk when it is due, or as soon as possible after that."""
    cut_chunk = _cut_chunk(answer)
    for chunk, (at_s, num_tokens, events) in enumerate(zip(answer.chunk_s, answer.tokens, chunks, strict=True)):
        await _until(at_s)
        if chunk == cut_chunk:
            _cut(request, writing)
            return
        writing.chunk_s.append(time.monotonic())
        writing.output_tokens += num_tokens
        await response.write(events)
    writing.fault = None


async def _write_whole(
    request: web.Request, api: NullApi, answer: Answer, outcome: Outcome, writing: _Writing
) -> web.StreamResponse:
    """Send nothing until the last chunk would have been due, then everything at once."""
    if (cut_chunk := _cut_chunk(answer)) is not None:
        await _until(answer.chunk_s[cut_chunk])
        _cut(request, writing)
        return web.Response()  # which reaches no one
    await _until(answer.chunk_s[-1])
    writing.chunk_s = [time.monotonic()]
    writing.output_tokens = outcome.output_tokens
    writing.fault = None
    return web.Response(body=api.whole(outcome), content_type="application/json")


def _cut_chunk(answer: Answer) -> int | None:
    """The chunk in whose place the connection is cut."""
    return len(answer.chunk_s) // 2 if answer.fault is Fault.RESET else None


def _cut(request: web.Request, writing: _Writing) -> None:
    writing.fault = Fault.RESET
    if request.transport is not None:
        request.transport.abort()


async def serve_null(
    server: NullServer, listener: socket.socket, stops_on: Listening, on_ready: Callable[[str], None]
) -> None:
    """Serve on a bound socket until SIGTERM, SIGINT or SIGHUP; what is under way then is cut off, and so logged."""
    stop = stops_on.stop_event()
    with most_descriptors():
        async with serving(server.app, listener, _log, shutdown_timeout_s=0.1):
            on_ready(base_url(listener))
            await stop.wait()


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _models(_: web.Request) -> web.Response:
    return json_response(ModelList(data=[ModelCard(id=MODEL, max_model_len=_MAX_OUTPUT_TOKENS)]))


async def _until(at_s: float) -> None:
    delay_s = at_s - time.monotonic()
    if delay_s > 0:
        await asyncio.sleep(delay_s)
