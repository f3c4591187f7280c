"""OpenAI's library on a real model. What does not depend on the model is tested in end_to_end/test_openai_sdk.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from support.servers import get, running_server
from support.waiting import wait_until

_QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of France?"}]


def test_an_answer_is_the_same_whole_and_streamed(openai_client: openai.OpenAI) -> None:
    whole = openai_client.chat.completions.create(model="smollm2", messages=_QUESTION, temperature=0, max_tokens=16)
    assert whole.choices[0].message.content == "The capital of France is Paris."
    assert whole.choices[0].finish_reason == "stop"
    with openai_client.chat.completions.stream(
        model="smollm2", messages=_QUESTION, temperature=0, max_tokens=16, stream_options={"include_usage": True}
    ) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_completion()
    assert streamed.choices[0].message.content == whole.choices[0].message.content
    assert streamed.usage is not None
    assert whole.usage is not None
    assert streamed.usage.completion_tokens == whole.usage.completion_tokens


def test_responses(openai_client: openai.OpenAI) -> None:
    whole = openai_client.responses.create(
        model="smollm2", input="What is the capital of France?", temperature=0, max_output_tokens=16
    )
    assert whole.output_text == "The capital of France is Paris."
    assert whole.status == "completed"
    with openai_client.responses.stream(
        model="smollm2", input="What is the capital of France?", temperature=0, max_output_tokens=16
    ) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_response()
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert streamed.output_text == whole.output_text
    assert streamed.usage is not None
    assert whole.usage is not None
    assert streamed.usage.output_tokens == whole.usage.output_tokens


def test_developer_and_parts(openai_client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "developer", "content": "Answer in one word."},
        {"role": "user", "content": [{"type": "text", "text": "What is the capital"}, {"type": "text", "text": " of"}]},
    ]
    answer = openai_client.chat.completions.create(model="smollm2", messages=messages, max_completion_tokens=4)
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 4


async def test_a_full_queue_is_retried_by_the_library(tmp_path: Path) -> None:
    """The library waits as long as Retry-After says, and tries again."""
    with running_server(
        *("--model", "smollm2-135m", "--device", "simulated:20ms", "--max-num-seqs", "1", "--max-queue", "1"),
        log=tmp_path / "log",
    ) as server:

        async def ask(max_retries: int) -> int:
            async with openai.AsyncOpenAI(
                base_url=f"{server.url}/v1", api_key="unused", max_retries=max_retries
            ) as client:
                answer = await client.chat.completions.create(model="smollm2-135m", messages=_QUESTION, max_tokens=10)
            assert answer.usage is not None
            return answer.usage.completion_tokens

        refused = await asyncio.gather(*(ask(0) for _ in range(6)), return_exceptions=True)
        failures = [error for error in refused if isinstance(error, BaseException)]
        assert failures
        for failure in failures:
            assert isinstance(failure, openai.RateLimitError)
            assert failure.response.headers["Retry-After"].isdigit()
        assert all(await asyncio.gather(*(ask(20) for _ in range(6))))


def test_a_draining_server_is_an_error_that_the_library_retries(tmp_path: Path) -> None:
    with (
        running_server("--model", "smollm2-135m", "--device", "simulated:200ms", log=tmp_path / "log") as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client,
    ):
        held = client.chat.completions.create(model="smollm2-135m", messages=_QUESTION, max_tokens=20, stream=True)
        next(iter(held))
        server.process.terminate()
        wait_until(lambda: get(f"{server.url}/health")[0] == 503, "it does not drain")
        with pytest.raises((openai.InternalServerError, openai.APIConnectionError)):
            client.chat.completions.create(model="smollm2-135m", messages=_QUESTION, max_tokens=1)
        assert [chunk.choices[0].finish_reason for chunk in held if chunk.choices][-1] == "length"
