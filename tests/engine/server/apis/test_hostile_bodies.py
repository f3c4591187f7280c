"""Bodies that no honest client sends: every endpoint answers each with a 4xx, in the form of its API."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from support.scripted_server import Script, scripted_server

_DEPTHS = (300, 900, 5000)
_WITH_PROMPT: dict[str, bytes] = {
    "/v1/chat/completions": b'"messages":[{"role":"user","content":"hi"}],"max_tokens":1',
    "/v1/completions": b'"prompt":"hi","max_tokens":1',
    "/v1/responses": b'"input":"hi","max_output_tokens":1',
    "/v1/messages": b'"messages":[{"role":"user","content":"hi"}],"max_tokens":1',
    "/v1/messages/count_tokens": b'"messages":[{"role":"user","content":"hi"}]',
    "/tokenize": b'"messages":[{"role":"user","content":"hi"}]',
    "/detokenize": b'"tokens":[97]',
}


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    async with scripted_server(Script()) as server, TestClient(server) as client:
        yield client


async def _error(client: TestClient[Any, Any], path: str, body: bytes) -> tuple[int, str]:
    response = await client.post(path, data=body)
    answer = await response.json()
    assert 400 <= response.status < 500, answer
    assert ("type" in answer) is path.startswith("/v1/messages")
    return response.status, answer["error"]["message"]


@pytest.mark.parametrize("path", _WITH_PROMPT)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"\xff\xfe{}",
        b'{@,"model":"\\ud800"}',
        b'{@,"model":"\xed\xa0\x80"}',
        b'{@,"model":7}',
        b'{@,"model":"%s"}' % (b"x" * 300),
        b'{@,"x":' + b"[" * 20_000,
        b'{@,"x":1' + b"0" * 400 + b"}",
        b'{@,"x":[' + b"[]," * 50_000 + b"[]]}",
        b'{@,"x":NaN}',
    ],
)
async def test_no_endpoint_fails_on_nonsense(client: TestClient[Any, Any], path: str, body: bytes) -> None:
    _, message = await _error(client, path, body.replace(b"@", _WITH_PROMPT[path]))
    assert len(message) < 1000
    assert "\n" not in message


def _object(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def _list_text(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


_NESTED: list[tuple[str, Callable[[int], bytes]]] = [
    ("/v1/responses", lambda depth: b'"tools":[{"type":"function","name":"f","parameters":%s}]' % _object(depth)),
    ("/v1/responses", lambda depth: b'"tool_choice":%s' % _object(depth)),
    ("/v1/responses", lambda depth: b'"text":{"format":{"type":"text","schema":%s}}' % _object(depth)),
    (
        "/v1/responses",
        lambda depth: (
            b'"input":[{"type":"function_call","call_id":"c","name":"f","arguments":"%s"},'
            b'{"type":"function_call_output","call_id":"c","output":"x"}]' % _list_text(depth)
        ),
    ),
    ("/v1/messages", lambda depth: b'"tools":[{"name":"f","input_schema":%s}]' % _object(depth)),
    (
        "/v1/messages",
        lambda depth: (
            b'"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"c","name":"f","input":%s}]},'
            b'{"role":"user","content":"hi"}]' % _object(depth)
        ),
    ),
    ("/v1/messages/count_tokens", lambda depth: b'"tools":[{"name":"f","input_schema":%s}]' % _object(depth)),
    (
        "/tokenize",
        lambda depth: b'"tools":[{"type":"function","function":{"name":"f","parameters":%s}}]' % _object(depth),
    ),
]


@pytest.mark.parametrize("depth", _DEPTHS)
@pytest.mark.parametrize(("path", "fields"), _NESTED)
async def test_nothing_is_nested_too_deeply_to_be_refused(
    client: TestClient[Any, Any],
    path: str,
    fields: Callable[[int], bytes],
    depth: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However deep it is, and whichever step gives up first: decoding, conversion, or the template."""
    body = b"{" + _WITH_PROMPT[path] + b"," + fields(depth) + b"}"
    response = await client.post(path, data=body)
    assert response.status in ((200, 400, 422) if depth < max(_DEPTHS) else (400,)), await response.text()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
