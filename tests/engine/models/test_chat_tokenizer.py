"""Prompts from text and conversations: what does not fit, and templates that fail."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from abatch.engine.errors import ContextLengthError, RequestError
from abatch.engine.models.tiny_tokenizer import tiny_tokenizer
from abatch.engine.models.tokenizer import ChatTokenizer

_HI = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ raise_exception('roles must\n alternate') }}", "rejected the messages: roles must alternate"),
        ("{{ nothing.at.all }}", "rejected the messages: 'nothing' is undefined"),
        ("{{ 1 / 0 }}", "failed on the messages: ZeroDivisionError"),
        ("{{ messages[0].content + 1 }}", "failed on the messages: TypeError"),
        ("{{ messages[0]['content'].index('z') }}", "failed on the messages: ValueError"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "nested so deeply"),
        ("{{ raise_exception('x' * 5000) }}", "xxx"),
    ],
)
def test_a_template_that_fails_is_a_short_error_of_the_request(template: str, says: str) -> None:
    tokenizer = ChatTokenizer(tiny_tokenizer())
    tokenizer.hf.chat_template = template
    with pytest.raises(RequestError) as caught:
        tokenizer.encode_chat(_HI, None)
    assert caught.value.status == 400
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_what_is_over_the_context_is_refused_and_what_fits_is_not() -> None:
    tokenizer = ChatTokenizer(tiny_tokenizer())
    assert len(tokenizer.encode("ab" * 50, most_tokens=100)) == 100
    with pytest.raises(ContextLengthError, match="at least 101 tokens, but the context is 100"):
        tokenizer.encode("a" * 101, most_tokens=100)
    with pytest.raises(ContextLengthError, match="the context is 10 tokens"):
        tokenizer.encode_chat(_HI, None, most_tokens=10)


def test_text_far_over_the_context_is_not_read_to_its_end() -> None:
    tokenizer = ChatTokenizer(tiny_tokenizer())
    num_read = 0
    encode = tokenizer._backend.encode_batch_fast  # type: ignore[union-attr]

    def counting(texts: list[str], **options: Any) -> Any:
        nonlocal num_read
        num_read += sum(map(len, texts))
        return encode(texts, **options)

    tokenizer._backend = SimpleNamespace(encode_batch_fast=counting)
    with pytest.raises(ContextLengthError):
        tokenizer.encode("a" * 1_000_000, most_tokens=100)
    assert num_read <= 300
