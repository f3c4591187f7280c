"""LangChain's OpenAI integration against our server."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAI

_QUESTION = "What is the capital of France?"
_ANSWER = "The capital of France is Paris."


def _chat(server: str, **settings: Any) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=f"{server}/v1",
        api_key="unused",
        model="smollm2",
        temperature=0,
        max_tokens=16,
        max_retries=0,
        **settings,
    )


@pytest.fixture
def chat(smollm2_server: str) -> ChatOpenAI:
    return _chat(smollm2_server, stream_usage=True)


def test_invoke(chat: ChatOpenAI) -> None:
    answer = chat.invoke(_QUESTION)
    assert answer.content == _ANSWER
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 8


def test_stream(chat: ChatOpenAI) -> None:
    whole: AIMessageChunk | None = None
    for chunk in chat.stream(_QUESTION):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert whole.content == _ANSWER
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == 8


async def test_batch_and_history(chat: ChatOpenAI) -> None:
    history = [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello."), HumanMessage(_QUESTION)]
    answers = await chat.abatch([history, history])
    assert answers[0].content == answers[1].content != ""


def test_responses(smollm2_server: str) -> None:
    model = _chat(smollm2_server, use_responses_api=True)
    assert model.invoke(_QUESTION).text == _ANSWER
    assert "".join(chunk.text for chunk in model.stream(_QUESTION)) == _ANSWER


def test_completion(smollm2_server: str) -> None:
    model = OpenAI(base_url=f"{smollm2_server}/v1", api_key="unused", model="smollm2", max_tokens=4, temperature=0)
    assert model.invoke("The capital of France is")
