"""Sessions as a client meets them: what is kept between requests, and what is refused."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from abatch.engine.loop.stats import EngineStats
from abatch.engine.models.tiny_tokenizer import tiny_tokenizer
from abatch.engine.models.tokenizer import ChatTokenizer
from abatch.engine.request import FinishReason
from abatch.engine.server.app import make_app
from abatch.engine.server.generation import TextDelta, TextGenerator
from abatch.engine.server.metrics import ServerMetrics
from abatch.engine.server.state import ServerState
from aiohttp.test_utils import TestClient, TestServer
from support.cli import abatch
from support.engines import make_ready
from support.servers import RunningServer, post, running_server
from support.waiting import PATIENCE_S, wait_until

_SYSTEM = {"role": "system", "content": "You are an agent that has a good many tools, and a rather long prompt."}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A context of 512 tokens, and few places."""
    with running_server(
        "--model", "tiny", "--max-model-len", "512", log=tmp_path_factory.mktemp("sessions") / "log"
    ) as server:
        yield server


def chat(
    server: RunningServer, text: str, headers: dict[str, str] | None = None, **fields: Any
) -> tuple[int, dict[str, Any]]:
    body = {"messages": [_SYSTEM, {"role": "user", "content": text}], "max_tokens": 5, "ignore_eos": True, **fields}
    return post(f"{server.url}/v1/chat/completions", body, headers)[:2]


def delete(server: RunningServer, session_id: str) -> tuple[int, dict[str, Any]]:
    url = f"{server.url}/v1/sessions/{quote(session_id, safe='')}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=PATIENCE_S) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.mark.parametrize("way", ["body", "header", "both"])
@pytest.mark.parametrize("endpoint", ["chat/completions", "completions"])
def test_the_second_turn_finds_the_first(server: RunningServer, way: str, endpoint: str) -> None:
    name = f"{endpoint}-{way}"
    fields = {} if way == "header" else {"session_id": name}
    headers = {} if way == "body" else {"X-Session-ID": name}
    parked, kept = server.metric("abatch_turns_parked_total"), server.metric("abatch_resumed_kept_total")
    text = f"{name} " * 8

    def turn(messages: list[dict[str, str]], text: str) -> tuple[dict[str, Any], dict[str, Any]]:
        prompt = {"messages": messages} if endpoint == "chat/completions" else {"prompt": text}
        body = {**prompt, "max_tokens": 20, "ignore_eos": True, "min_tokens": 20, **fields}
        status, answer, _ = post(f"{server.url}/v1/{endpoint}", body, headers)
        assert status == 200, answer
        return answer["choices"][0], answer["usage"]

    messages = [{"role": "user", "content": text}]
    first, usage = turn(messages, text)
    said = first["message"]["content"] if "message" in first else first["text"]
    messages += [{"role": "assistant", "content": said}, {"role": "user", "content": "go on"}]
    _, again = turn(messages, f"{text}{said} go on")
    cached = again["prompt_tokens_details"]["cached_tokens"]
    # A chat template puts its own marks behind the answer, and the last block may be open.
    assert usage["prompt_tokens"] - 16 < cached <= usage["total_tokens"]
    assert server.metric("abatch_turns_parked_total") == parked + 2
    assert server.metric("abatch_resumed_kept_total") == kept + 1
    assert server.metric("abatch_kv_blocks_pinned") > 0
    assert delete(server, name)[0] == 200


@pytest.mark.parametrize("session_id", ["ended", "with/slash", "with space & co", "ünïcode", "x" * 256])
def test_a_session_ends_when_that_is_said(server: RunningServer, session_id: str) -> None:
    assert chat(server, "hi", session_id=session_id)[0] == 200
    status, body = delete(server, session_id)
    assert (status, body["id"], body["deleted"]) == (200, session_id, True)
    status, body = delete(server, session_id)
    assert (status, body["error"]["code"]) == (404, "session_not_found")
    assert "\n" not in body["error"]["message"]


def test_a_session_that_never_was(server: RunningServer) -> None:
    status, body = delete(server, "never")
    assert (status, body["error"]["code"], body["error"]["type"]) == (404, "session_not_found", "not_found_error")


def test_a_last_turn_parks_nothing(server: RunningServer) -> None:
    parked = server.metric("abatch_turns_parked_total")
    assert chat(server, "hi", session_id="short-lived", end_session=True)[0] == 200
    assert server.metric("abatch_turns_parked_total") == parked
    assert delete(server, "short-lived")[0] == 404


_BAD: list[tuple[dict[str, Any], dict[str, str], str]] = [
    ({"n": 2, "session_id": "s"}, {}, "n"),
    ({"n": 2}, {"X-Session-ID": "s"}, "n"),
    ({"expected_pause_s": 2.0}, {}, "expected_pause_s"),
    ({"next_tool": "grep"}, {}, "next_tool"),
    ({"end_session": True}, {}, "end_session"),
    ({"session_id": "one"}, {"X-Session-ID": "other"}, "session_id"),
    ({"session_id": "x" * 257}, {}, "session_id"),
    ({"session_id": ""}, {}, "session_id"),
    ({}, {"X-Session-ID": "x" * 257}, "session_id"),
    ({"session_id": "s", "expected_pause_s": -1.0}, {}, "expected_pause_s"),
    ({"session_id": 5}, {}, "session_id"),
]


@pytest.mark.parametrize(("fields", "headers", "mentions"), _BAD)
def test_what_makes_no_sense_is_refused(
    server: RunningServer, fields: dict[str, Any], headers: dict[str, str], mentions: str
) -> None:
    status, body = chat(server, "hi", headers, **fields)
    assert status == 400, body
    assert mentions in json.dumps(body["error"])


def test_several_prompts_are_no_conversation(server: RunningServer) -> None:
    body = {"prompt": ["one", "two"], "session_id": "s", "max_tokens": 2}
    status, answer, _ = post(f"{server.url}/v1/completions", body)
    assert (status, answer["error"]["param"]) == (400, "prompt")


def test_two_at_once_on_a_session(server: RunningServer) -> None:
    """The second is told so, and the first is none the worse; after it the session goes on."""
    answers: list[tuple[int, dict[str, Any]]] = []
    held = server.metric("abatch_requests_running")
    first = threading.Thread(
        target=lambda: answers.append(chat(server, "count", session_id="twice", max_tokens=380, min_tokens=380))
    )
    first.start()
    wait_until(lambda: server.metric("abatch_requests_running") != held or not first.is_alive(), "it never runs")
    status, body = chat(server, "hi", session_id="twice")
    if first.is_alive() or status != 200:
        assert (status, body["error"]["code"], body["error"]["param"]) == (409, "session_busy", "session_id")
    first.join(PATIENCE_S)
    assert answers[0][0] == 200
    assert answers[0][1]["usage"]["completion_tokens"] == 380
    assert chat(server, "hi", session_id="twice")[0] == 200


def test_a_client_that_hung_up_leaves_its_session_usable(server: RunningServer) -> None:
    fields = {"max_tokens": 380, "min_tokens": 380, "ignore_eos": True, "stream": True, "session_id": "hung-up"}
    body = json.dumps({"messages": [_SYSTEM], **fields})
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port or 0), timeout=PATIENCE_S) as connection:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        assert connection.recv(20).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + PATIENCE_S
    while (status := chat(server, "hi", session_id="hung-up")[0]) == 409:
        assert time.monotonic() < deadline, "the session is busy with a request that no one waits for"
    assert status == 200
    server.wait_for_metric("abatch_requests_running", 0.0)


def test_a_context_at_the_model_s_limit(server: RunningServer) -> None:
    status, body = chat(server, "x" * 300, session_id="long", max_tokens=400)
    assert (status, body["error"]["code"]) == (400, "context_length_exceeded")
    assert delete(server, "long")[0] == 404, "what was refused began no session"
    status, body = chat(server, "x" * 300, session_id="long", max_tokens=None)
    assert (status, body["choices"][0]["finish_reason"]) == (200, "length")
    assert body["usage"]["total_tokens"] == 512


def test_a_session_that_does_not_come_back_is_forgotten(tmp_path: Path) -> None:
    with running_server("--model", "tiny", "--session-timeout", "1", log=tmp_path / "log") as server:
        assert chat(server, "hi", session_id="gone")[0] == 200
        server.wait_for_metric("abatch_turns_parked_total", 1.0)
        wait_until(
            lambda: delete(server, "never")[0] != 404 or server.metric("abatch_sessions_expired_total") > 0,
            "it is kept for ever",
        )
        assert delete(server, "gone")[0] == 404
        assert server.metric("abatch_kv_blocks_pinned") == server.metric("abatch_sessions_parked") == 0


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        (("--park", "nonsense"), "--park"),
        (("--policy", "nonsense"), "--policy"),
        (("--session-timeout", "0"), "--session-timeout"),
        (("--host-kv-memory", "much"), "much"),
        (("--park", "offload", "--host-kv-memory", "0"), "--host-kv-memory"),
        (("--park", "keep", "--no-prefix-cache"), "--no-prefix-cache"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: tuple[str, ...], mentions: str) -> None:
    result = abatch("serve", "--model", "tiny", "--port", "0", *arguments)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("abatch: ")
    assert mentions in line


# No tiny model calls a tool, so the generator is told what to say.


class ScriptedGenerator(TextGenerator):
    """Calls tools, and remembers what its engine is told."""

    def __init__(self, *tools: str) -> None:
        self.told: list[tuple[str, str]] = []
        engine = SimpleNamespace(
            ready=make_ready(),
            check=lambda *_, **__: None,
            is_alive=True,
            is_responding=True,
            stats=EngineStats(),
            tell=lambda session_id, *, tool: self.told.append((session_id, tool)),
        )
        super().__init__(engine, ChatTokenizer(tiny_tokenizer()))  # type: ignore[arg-type]
        self._calls = [f'<tool_call>{{"name": "{tool}", "arguments": {{}}}}</tool_call>' for tool in tools]

    async def stream(self, *_: Any) -> AsyncIterator[TextDelta]:  # type: ignore[override]
        for text in ["One moment.", *self._calls]:
            yield TextDelta(text, 1)
        yield TextDelta("", 1, finish_reason=FinishReason.STOP)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("tools", "fields", "told"),
    [
        (["grep"], {"session_id": "s"}, [("s", "grep")]),
        (["sed", "grep", "sed"], {"session_id": "s"}, [("s", "grep+sed")]),
        (["t" * 300], {"session_id": "s"}, [("s", "t" * 256)]),
        (["grep"], {"session_id": "s", "next_tool": "search"}, []),
        (["grep"], {}, []),
        ([], {"session_id": "s"}, []),
    ],
)
async def test_the_engine_is_told_which_tools_a_session_waits_for(
    tools: list[str], fields: dict[str, Any], told: list[tuple[str, str]], streams: bool
) -> None:
    generator = ScriptedGenerator(*tools)
    metrics = ServerMetrics(make_ready(), EngineStats, lambda: True)
    app = make_app(ServerState(generator, "scripted", metrics), api_key=None, max_body_bytes=1 << 20)
    body = {"messages": [_SYSTEM], "tools": [{"type": "function", "function": {"name": "grep"}}], "stream": streams}
    async with TestClient(TestServer(app)) as client:
        response = await client.post("/v1/chat/completions", json=body | fields)
        assert response.status == 200
        await response.read()
    assert generator.told == told
