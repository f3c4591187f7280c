"""No request holds up the others, however it is made."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from abatch.engine.errors import RequestError
from abatch.engine.loop.engine import TokenOutput
from abatch.engine.loop.stats import EngineStats
from abatch.engine.models.tiny_tokenizer import tiny_tokenizer
from abatch.engine.models.tokenizer import ChatTokenizer
from abatch.engine.request import FinishReason, SamplingParams, check_length
from abatch.engine.runner import TokenLogprobs
from abatch.engine.server.app import make_app
from abatch.engine.server.front import json_bodies
from abatch.engine.server.front.json_bodies import JsonBudget
from abatch.engine.server.generation import TextGenerator
from abatch.engine.server.metrics import ServerMetrics
from abatch.engine.server.state import ServerState
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from support.costly_bodies import costly_bodies
from support.engines import make_ready

_MAX_BODY_BYTES = 4 << 20
_MOST_CPU_S = 0.25
"""Of the event loop's thread in one go: ten times what it is for the worst of them."""
_READY = make_ready(max_model_len=100_000)

_TOO_MANY = (400, "too_many_values")
_TOO_LONG = (400, "context_length_exceeded")
_ANSWERED = (200, None)
_REFUSED = (400, "invalid_request_error")
"""By the Messages API, whose errors have no code."""
_EXPECTED = {
    "token ids": _TOO_MANY,
    "prompts of one token": _TOO_MANY,
    "empty prompts": _TOO_MANY,
    "64 long prompts": (400, "invalid_request"),
    "empty messages": _TOO_MANY,
    "16,000 messages": _TOO_LONG,
    "content parts": _TOO_MANY,
    "tools": _TOO_MANY,
    "1,000 tools with schemas": _TOO_LONG,
    "calls of tools": _TOO_MANY,
    "arguments": _TOO_MANY,
    "a schema of keys": _TOO_MANY,
    "logit_bias": _TOO_MANY,
    "lists that are not looked at": _TOO_MANY,
    "doubles at their limits": _TOO_MANY,
    "integers of 4,000 digits": (400, "number_too_long"),
    "unknown fields": _TOO_MANY,
    "one field again and again": _TOO_MANY,
    "text": _TOO_LONG,
    "escaped text": _TOO_LONG,
    "text of emoji": _TOO_LONG,
    "the name of a model": (400, "invalid_request"),
    "a role": (400, "invalid_request"),
    "stop strings": _TOO_MANY,
    "white space": _ANSWERED,
    "log-probabilities of 16 answers": _ANSWERED,
    "stop strings of overlapping borders": _ANSWERED,
    "items": _TOO_MANY,
    "8,000 items": _ANSWERED,
    "instructions that come back": _ANSWERED,
    "blocks": _REFUSED,
    "inputs of tools": _REFUSED,
    "tokens": _TOO_MANY,
    "100,000 tokens": _ANSWERED,
    "text that becomes tokens": _TOO_LONG,
    "100,000 letters": _ANSWERED,
}


class _Engine:
    """Says nothing but "a", as fast as it can, with as many log-probabilities as are wanted."""

    ready = _READY
    stats = EngineStats()
    is_alive = True
    is_responding = True

    def check(self, prompt_ids: list[int], sampling: SamplingParams, *_: Any, **__: Any) -> None:
        check_length(len(prompt_ids), sampling.max_tokens, _READY.max_model_len)

    async def generate(self, _: Any, sampling: SamplingParams, __: Any = None) -> AsyncIterator[list[TokenOutput]]:
        (a,) = _TOKENIZER.encode("a")
        top = None if sampling.logprobs is None else TokenLogprobs(-1.0, [(a, -1.0)] * sampling.logprobs)
        for number in range(sampling.max_tokens):
            reason = FinishReason.LENGTH if number == sampling.max_tokens - 1 else None
            yield [TokenOutput("", a, top, reason)]
            await asyncio.sleep(0)


_TOKENIZER = ChatTokenizer(tiny_tokenizer())


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    generator = TextGenerator(_Engine(), _TOKENIZER)  # type: ignore[arg-type]
    state = ServerState(generator, "scripted", ServerMetrics(_READY, EngineStats, lambda: True))
    async with TestClient(TestServer(make_app(state, api_key=None, max_body_bytes=_MAX_BODY_BYTES))) as client:
        yield client


@pytest.fixture
def longest_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """One number: the CPU time that the loop's thread has spent in its longest callback."""
    longest = [0.0]
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        before_s = time.thread_time()
        run(handle)
        longest[0] = max(longest[0], time.thread_time() - before_s)

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    return longest


@pytest.mark.parametrize(
    ("name", "path", "body"), [pytest.param(*case, id=case[0]) for case in costly_bodies(_MAX_BODY_BYTES)]
)
async def test_a_request_does_not_hold_the_loop(
    client: TestClient[Any, Any], longest_s: list[float], name: str, path: str, body: bytes
) -> None:
    assert len(body) <= _MAX_BODY_BYTES
    response = await client.post(path, data=io.BytesIO(body))
    answer = msgspec.json.decode(await response.read())
    error = answer.get("error") or {}
    assert (response.status, error.get("code", error.get("type"))) == _EXPECTED[name]
    assert len(error.get("message", "")) < 1000
    assert longest_s[0] < _MOST_CPU_S


_JSON = st.recursive(
    st.none() | st.integers(-99, 99) | st.text('a"\\\\,[{:e', max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a"\\\\,', max_size=5), inner, max_size=4),
)


def _num_values(value: Any) -> int:
    """As the budget has it: one for each comma, four for each list, object and key."""
    match value:
        case dict():
            return 4 + sum(4 + _num_values(inner) for inner in value.values()) + max(0, len(value) - 1)
        case list():
            return 4 + sum(map(_num_values, value)) + max(0, len(value) - 1)
    return 0


@given(_JSON, st.integers(1, 20))
def test_only_what_stands_outside_strings_is_counted(value: Any, slice_bytes: int) -> None:
    raw = msgspec.json.encode(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_bodies, "_SLICE_BYTES", slice_bytes)
        JsonBudget(_num_values(value), "it").spend(raw)
        if _num_values(value):
            with pytest.raises(RequestError, match="it: more than"):
                JsonBudget(_num_values(value) - 1, "it").spend(raw)


@pytest.mark.parametrize("number", ["1e300", "-1.5E-7"])
def test_numbers_with_an_exponent_count_as_many(number: str) -> None:
    raw = f"[{number}, true, false]".encode()
    JsonBudget(4 + 2 + 256, "it").spend(raw)
    with pytest.raises(RequestError, match="exponent"):
        JsonBudget(4 + 2 + 255, "it").spend(raw)
