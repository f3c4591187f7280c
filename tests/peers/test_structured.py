"""Answers in a schema, as the clients' helpers ask for them."""

from __future__ import annotations

import json

import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

pytest.importorskip("llguidance")

_QUESTION = "Tell me about Paris, as JSON with name and country."


class City(BaseModel):
    """A city."""

    name: str
    is_capital: bool


def test_openai_parses_an_answer(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.parse(
        model="smollm2",
        messages=[{"role": "user", "content": _QUESTION}],
        response_format=City,
        temperature=0,
        max_tokens=100,
    )
    assert isinstance(answer.choices[0].message.parsed, City)


def test_openai_gets_json(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": _QUESTION}],
        response_format={"type": "json_object"},
        temperature=0,
        max_tokens=200,
    )
    assert answer.choices[0].finish_reason == "length" or json.loads(answer.choices[0].message.content or "")


@pytest.mark.parametrize("strict", [None, True])
def test_langchain_fills_in_a_model(smollm2_server: str, strict: bool | None) -> None:
    model = ChatOpenAI(
        base_url=f"{smollm2_server}/v1", api_key="unused", model="smollm2", temperature=0, max_tokens=100, max_retries=0
    )
    filled = model.with_structured_output(City, method="json_schema", strict=strict).invoke(_QUESTION)
    assert isinstance(filled, City)
