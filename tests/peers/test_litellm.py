"""LiteLLM's library against our server, by the providers that people use for servers of their own."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

_MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
_ANSWER = "The capital of France is Paris."


def _settings(url: str, provider: str) -> dict[str, Any]:
    return {
        "model": f"{provider}/smollm2",
        "api_base": f"{url}/v1",
        "api_key": "unused",
        "max_tokens": 16,
        "temperature": 0,
        "num_retries": 0,
    }


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm"])
def test_chat(smollm2_server: str, provider: str) -> None:
    answer = litellm.completion(messages=_MESSAGES, **_settings(smollm2_server, provider))
    assert answer.choices[0].message.content == _ANSWER
    assert answer.usage.completion_tokens == 8


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm"])
async def test_stream(smollm2_server: str, provider: str) -> None:
    stream = await litellm.acompletion(
        messages=_MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
        **_settings(smollm2_server, provider),
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == _ANSWER
    assert chunks[-1].usage.completion_tokens == 8


def test_messages(smollm2_server: str) -> None:
    settings = _settings(smollm2_server, "anthropic") | {"api_base": smollm2_server}
    assert litellm.completion(messages=_MESSAGES, **settings).choices[0].message.content == _ANSWER


def test_responses(smollm2_server: str) -> None:
    answer = litellm.responses(
        model="openai/smollm2",
        input=_MESSAGES[0]["content"],
        api_base=f"{smollm2_server}/v1",
        api_key="unused",
        max_output_tokens=16,
        temperature=0,
    )
    assert answer.output[0].content[0].text == _ANSWER


def test_completion(smollm2_server: str) -> None:
    answer = litellm.text_completion(
        prompt="The capital of France is", **_settings(smollm2_server, "text-completion-openai")
    )
    assert answer.choices[0].text


def test_errors_are_its_own(smollm2_server: str) -> None:
    settings = _settings(smollm2_server, "openai")
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(messages=_MESSAGES, **(settings | {"model": "openai/nope"}))
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(messages=_MESSAGES, **(settings | {"temperature": 9}))
