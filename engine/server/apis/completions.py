"""`POST /v1/completions`."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from itertools import accumulate
from typing import cast

import msgspec
from aiohttp import web

from ...errors import RequestError, UnsupportedError
from ...protocol.completions import Completion, CompletionChoice, CompletionLogprobs, CompletionRequest
from ...protocol.encoding import encode, server_sent_event
from ...protocol.usage import Usage
from ...session import SessionUse
from ..choices import ChoiceSpec, UsageCounter, choice_specs, collect, interleave, stop_automaton
from ..exchange import read_body, stream_response
from ..front.json_bodies import aside
from ..generation import TextDelta, TextGenerator, TokenText, refuse_unsupported, sampling_params
from ..sessions import session_use
from ..state import STATE, ServerState

_decoder = msgspec.json.Decoder(CompletionRequest)
_MAX_PROMPTS = 64
_DEFAULT_MAX_TOKENS = 16
"""OpenAI's default on this endpoint."""


async def completions(request: web.Request) -> web.StreamResponse:
    """Complete one or several prompts, given as text or tokens."""
    state = request.app[STATE]
    body, num_bytes = await read_body(request, _decoder)
    state.check_request(body)
    session = session_use(request, body)
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    lengths = [len(prompt) for prompt in prompts if isinstance(prompt, str)]
    grammar = await state.grammars.grammar_of(body.response_format, state.generator.engine.ready)
    specs = await state.tokenize(num_bytes, lengths, lambda: _choices(body, state, session, grammar))
    answer = _CompletionAnswer(body, specs, state)
    return await (answer.stream(request) if body.stream else answer.whole())


def _choices(body: CompletionRequest, state: ServerState, session: SessionUse | None, grammar: str) -> list[ChoiceSpec]:
    """One choice for each prompt and each of the `n` answers to it, in OpenAI's order."""
    refuse_unsupported(body)
    is_used = {"echo": body.echo, "suffix": body.suffix, "best_of": body.best_of not in (None, 1)}
    for name in (name for name, used in is_used.items() if used):
        raise UnsupportedError(f"{name} is not supported", param=name)
    generator = state.generator
    specs: list[ChoiceSpec] = []
    stops = stop_automaton(body.stop)
    for prompt_ids in _prompts(body, generator):
        sampling = sampling_params(
            body,
            max_tokens=body.max_tokens or _DEFAULT_MAX_TOKENS,
            num_logprobs=body.logprobs,
            num_prompt=len(prompt_ids),
            ready=generator.engine.ready,
            eos_token_ids=generator.eos_token_ids,
            grammar=grammar,
        )
        specs += choice_specs(len(specs), prompt_ids, sampling, stops, body.n or 1, session)
    if session is not None and len(specs) > 1:
        raise RequestError("a session is one conversation, so give one prompt", param="prompt")
    return specs


def _prompts(body: CompletionRequest, generator: TextGenerator) -> list[list[int]]:
    prompt = body.prompt
    if isinstance(prompt, str):
        return [generator.encode(prompt)]
    if all(isinstance(item, int) for item in prompt):
        return [cast("list[int]", prompt)]
    if len(prompt) > _MAX_PROMPTS:
        raise RequestError(f"at most {_MAX_PROMPTS} prompts in one request, not {len(prompt)}", param="prompt")
    if any(isinstance(item, int) for item in prompt):
        raise RequestError("a prompt is text or a list of token ids, not a mixture", param="prompt")
    return [generator.encode(item) if isinstance(item, str) else cast("list[int]", item) for item in prompt]


_CompactLogprob = tuple[str, float, msgspec.Raw]
"""A token's text and log-probability, and the most likely tokens as JSON."""


def _compact(token: TokenText) -> _CompactLogprob:
    return token.text, token.logprob, msgspec.Raw(msgspec.json.encode(dict(token.top)))


class _CompletionAnswer:
    """Turns deltas into this endpoint's wire types."""

    def __init__(self, body: CompletionRequest, specs: list[ChoiceSpec], state: ServerState) -> None:
        self._specs = specs
        self._state = state
        self._wants_logprobs = body.logprobs is not None
        self._wants_usage = body.wants_usage
        self._id = f"cmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())

    async def whole(self) -> web.Response:
        answers, usage = await collect(self._state, self._specs, _compact)

        def encoded() -> bytes:
            choices = [
                CompletionChoice(
                    index=answer.spec.index,
                    text=answer.text,
                    logprobs=self._logprobs(answer.logprobs, offset=0),
                    finish_reason=answer.finish_reason,
                )
                for answer in answers
            ]
            return encode(self._completion(choices, usage))

        body = await aside(sum(len(answer.text) + len(answer.logprobs) for answer in answers), encoded)
        return web.Response(body=body, content_type="application/json")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        async with interleave(self._state, self._specs) as deltas, aclosing(self._events(deltas)) as events:
            return await stream_response(request, events)

    async def _events(self, deltas: AsyncIterator[tuple[ChoiceSpec, TextDelta]]) -> AsyncGenerator[bytes]:
        usage = UsageCounter.of(self._specs)
        offsets = dict.fromkeys((spec.index for spec in self._specs), 0)
        no_usage = None if self._wants_usage else msgspec.UNSET
        async for spec, delta in deltas:
            usage.add(spec, delta)
            choice = CompletionChoice(
                index=spec.index,
                text=delta.text,
                logprobs=self._logprobs(list(map(_compact, delta.logprobs)), offset=offsets[spec.index]),
                finish_reason=delta.finish_reason,
            )
            offsets[spec.index] += sum(len(token.text) for token in delta.logprobs)
            if delta.text or delta.finish_reason or delta.logprobs:
                yield server_sent_event(self._completion([choice], no_usage))
        if self._wants_usage:
            yield server_sent_event(self._completion([], usage.usage()))

    def _logprobs(self, tokens: Sequence[_CompactLogprob], *, offset: int) -> CompletionLogprobs | None:
        if not self._wants_logprobs:
            return None
        offsets = accumulate((len(text) for text, _, _ in tokens[:-1]), initial=offset)
        return CompletionLogprobs(
            tokens=[text for text, _, _ in tokens],
            token_logprobs=[logprob for _, logprob, _ in tokens],
            # Encoded before; the type says what they are.
            top_logprobs=cast("list[dict[str, float]]", [top for _, _, top in tokens]),
            text_offset=list(offsets) if tokens else [],
        )

    def _completion(self, choices: list[CompletionChoice], usage: Usage | msgspec.UnsetType | None) -> Completion:
        return Completion(
            id=self._id, created=self._created, model=self._state.model_name, choices=choices, usage=usage
        )
