"""What the HTTP API answers to requests that it cannot serve."""

from __future__ import annotations

from typing import Any

import pytest
from support.servers import get, post

_HI = [{"role": "user", "content": "hi"}]


def _nested_schema(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def _nested_arguments(depth: int) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "[" * depth + "]" * depth}}
    return {"messages": [*_HI, {"role": "assistant", "tool_calls": [call]}]}


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def _nested_tool(depth: int) -> bytes:
    schema = b'{"a":' * depth + b"1" + b"}" * depth
    tool = b'{"type":"function","function":{"name":"f","parameters":' + schema + b"}}"
    return b'{"messages":[{"role":"user","content":"hi"}],"tools":[' + tool + b"]}"


_BAD_CHATS: list[tuple[dict[str, Any] | bytes, int, str]] = [
    (b"{", 400, "JSON"),
    (b"\xff\xfe", 400, "JSON"),
    ({}, 400, "messages"),
    ({"messages": []}, 400, "messages"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "role"),
    ({"messages": _HI, "temperature": 3}, 400, "temperature"),
    ({"messages": _HI, "temperature": "hot"}, 400, "temperature"),
    ({"messages": _HI, "top_p": 0}, 400, "top_p"),
    ({"messages": _HI, "max_tokens": 0}, 400, "max_tokens"),
    ({"messages": _HI, "max_tokens": 10, "min_tokens": 11}, 400, "min_tokens"),
    ({"messages": _HI, "n": 1000}, 400, "n"),
    ({"messages": _HI, "stop": [""]}, 400, "stop"),
    ({"messages": _HI, "stop": ["x"] * 100}, 400, "stop"),
    ({"messages": _HI, "top_logprobs": 3}, 400, "logprobs"),
    ({"messages": _HI, "max_tokens": 10_000_000}, 400, "context"),
    ({"messages": _HI, "top_k": 2**70}, 400, "top_k"),
    ({"messages": _HI, "seed": 2**70}, 400, "seed"),
    ({"messages": _HI, "min_tokens": 1, "max_tokens": 2, "stop_token_ids": [999_999]}, 400, "vocabulary"),
    ({"messages": _HI, "stop_token_ids": [-1]}, 400, "stop_token_ids"),
    ({"messages": _HI, "stop_token_ids": [2**70]}, 400, "stop_token_ids"),
    ({"messages": [{"role": "user", "content": "x" * 1_000_000}]}, 400, "context"),
    (b'{"x":' + b"[" * 20_000, 400, "nested"),
    ({"messages": _HI, "model": "gpt-4"}, 404, "gpt-4"),
    ({"messages": _HI, "logit_bias": {"5": 1}}, 422, "logit_bias"),
    ({"messages": _HI, "response_format": {"type": "grammar"}}, 422, "json_schema"),
    ({"messages": _HI, "response_format": {"type": "json_schema"}}, 400, "json_schema.schema"),
    ({"messages": _HI, "response_format": _schema({"type": "wizard"})}, 400, "wizard"),
    ({"messages": _HI, "response_format": _schema({"not": {"type": "string"}})}, 400, "not"),
    ({"messages": _HI, "response_format": _schema({"$ref": "http://127.0.0.1:9/x"})}, 400, "127.0.0.1"),
    ({"messages": _HI, "response_format": _schema({"enum": ["x" * 140_000]})}, 400, "131072 characters"),
    ({"messages": _HI, "response_format": {"type": "json_object"}, "ignore_eos": True}, 400, "ignore_eos"),
    ({"messages": _HI, "response_format": {"type": "json_object"}, "min_tokens": 3}, 400, "min_tokens"),
    ({"messages": _HI, "tool_choice": "required"}, 400, "tool_choice"),
    ({"messages": _HI, "tool_choice": "sometimes"}, 422, "tool_choice"),
    ({"messages": _HI, "functions": [{"name": "f"}]}, 422, "functions"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 422, "image_url"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, 400, "needs a text"),
    ({"messages": _HI, "tool_choice": {"type": "function"}}, 422, "tool_choice"),
    (b'{"messages":[{"role":"user","content":"\\ud800"}]}', 400, "JSON"),
    (b'{"messages":[{"role":"user","content":"\xed\xa0\x80"}]}', 400, "JSON"),
    (b'{"messages":[{"role":"user","content":"hi"}],"temperature":NaN}', 400, "JSON"),
    (b'{"messages":[{"role":"user","content":"hi"}],"seed":1' + b"0" * 400 + b"}", 400, "64 characters"),
    (b'{"messages":[{"role":"user","content":"hi"}],"temperature":1e999}', 400, "range"),
    ({"messages": [{"role": "user", "content": "hi"}], "model": "x" * 300}, 400, "256"),
    *[(_nested_tool(depth), 400, "nested") for depth in (1500, 5000)],
    ({"messages": _HI, "response_format": _schema(_nested_schema(400))}, 400, "recursion"),
    *[(_nested_arguments(depth), 400, "nested") for depth in (500, 1500, 5000)],
]


@pytest.mark.parametrize(("body", "status", "mentions"), _BAD_CHATS)
def test_a_bad_chat_request_gets_one_clear_answer(
    tiny_server: str, body: dict[str, Any] | bytes, status: int, mentions: str
) -> None:
    answer = post(f"{tiny_server}/v1/chat/completions", body)
    assert answer[0] == status
    error = answer[1]["error"]
    assert mentions in error["message"]
    assert "\n" not in error["message"]
    assert error["type"] in ("invalid_request_error", "not_found_error")
    assert error["code"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"prompt": []}, 400),
        ({"prompt": ""}, 400),
        ({"prompt": [[]]}, 400),
        ({"prompt": [5, "x"]}, 400),
        ({"prompt": [10**6]}, 400),
        ({"prompt": [-1]}, 400),
        ({"prompt": ["x"] * 1000}, 400),
        ({"prompt": "x", "echo": True}, 422),
        ({"prompt": "x", "suffix": "y"}, 422),
        ({"prompt": "x", "best_of": 3}, 422),
    ],
)
def test_a_bad_completion_request(tiny_server: str, body: dict[str, Any], status: int) -> None:
    answer = post(f"{tiny_server}/v1/completions", body)
    assert answer[0] == status
    assert answer[1]["error"]["message"]


def test_an_error_before_the_first_token_of_a_stream_has_its_status(tiny_server: str) -> None:
    assert (
        post(f"{tiny_server}/v1/chat/completions", {"messages": _HI, "stream": True, "max_tokens": 10_000_000})[0]
        == 400
    )


def test_routes_that_are_not_there(tiny_server: str) -> None:
    status, body, _ = get(f"{tiny_server}/v2/nothing")
    assert (status, body["error"]["code"]) == (404, "no_such_route")
    status, body, headers = get(f"{tiny_server}/v1/chat/completions")
    assert status == 405
    assert headers["Allow"] == "POST"
