"""Anthropic's library against the Messages API of our server."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import pytest
from anthropic.types import MessageParam

_QUESTION: list[MessageParam] = [{"role": "user", "content": "What is the capital of France?"}]
_ANSWER = "The capital of France is Paris."
_GREEDY = {"temperature": 0}
"""The library has no such argument any more."""


@pytest.fixture
def client(smollm2_server: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=smollm2_server, api_key="unused", max_retries=0) as client:
        yield client


def test_an_answer_is_the_same_whole_and_streamed(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(model="smollm2", max_tokens=16, messages=_QUESTION, extra_body=_GREEDY)
    (block,) = whole.content
    assert block.type == "text"
    assert block.text == _ANSWER
    assert whole.stop_reason == "end_turn"
    with client.messages.stream(model="smollm2", max_tokens=16, messages=_QUESTION, extra_body=_GREEDY) as stream:
        assert "".join(stream.text_stream) == _ANSWER
        streamed = stream.get_final_message()
    assert streamed.stop_reason == "end_turn"
    assert streamed.usage.output_tokens == whole.usage.output_tokens > 0


def test_the_prompt_is_counted_as_it_is_billed(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model="smollm2", system="Be brief.", messages=_QUESTION)
    answer = client.messages.create(model="smollm2", max_tokens=1, system="Be brief.", messages=_QUESTION)
    cached = answer.usage.cache_read_input_tokens or 0
    assert answer.usage.input_tokens + cached == counted.input_tokens
    assert answer.stop_reason == "max_tokens"


def test_errors_are_its_own(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="nope", max_tokens=1, messages=_QUESTION)
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="smollm2", max_tokens=0, messages=_QUESTION)


def test_models(client: anthropic.Anthropic) -> None:
    assert [model.id for model in client.models.list()] == ["smollm2"]
