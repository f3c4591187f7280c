"""Whatever a server sends, the client makes something of it: no JSON and no bytes are an error of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from abatch.workloads.targets.wire.api import Api
from abatch.workloads.targets.wire.apis import APIS
from hypothesis import given
from hypothesis import strategies as st
from support.answers import answered, event
from support.examples import examples

_NAMES = st.sampled_from(
    "choices delta message content text reasoning reasoning_content reasoning_details thinking tool_calls refusal "
    "finish_reason usage error type index response output item status content_block stop_reason completion_tokens "
    "prompt_tokens output_tokens input_tokens prompt_tokens_details cached_tokens partial_json summary".split()
)
_WORDS = st.sampled_from(
    "text thinking error stop content_block_delta content_block_start message_start message_delta message_stop "
    "text_delta thinking_delta response.output_text.delta response.completed response.output_item.done completed "
    "<think> </think> \ud83d 7 -1".split()
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats(allow_nan=False, allow_infinity=False) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)
_CHOICE = st.dictionaries(st.sampled_from(["delta", "message", "text", "finish_reason", "usage"]), _JSON, max_size=3)
_CHUNK = st.fixed_dictionaries({"choices": st.lists(_CHOICE, max_size=2)}) | st.dictionaries(_NAMES, _JSON, max_size=4)


@pytest.mark.parametrize("api", [APIS["chat"], APIS["responses"], APIS["messages"]], ids=lambda api: api.name)
@given(st.lists(_CHUNK | _JSON, max_size=4), st.booleans())
@examples(0.4)
def test_any_json_is_read_or_counted(api: Api, chunks: list[Any], is_stream: bool) -> None:
    texts = [json.dumps(chunk) for chunk in chunks]
    reply = answered(*(map(event, texts) if is_stream else texts), api=api)
    assert reply.error is not None or reply.first_s is not None
    assert "".join((*reply.text, *reply.reasoning)).encode() is not None  # no lone surrogate is left
    json.dumps([reply.error_message, reply.finish_reason], ensure_ascii=False).encode()


@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([b"data: ", b"\n\n", b"\r", b"{", b'{"choices":[']), max_size=8)
)
def test_any_bytes_are_an_answer_or_a_failure(reads: list[bytes]) -> None:
    reply = answered(*reads)
    assert reply.error is not None or reply.first_s is not None
