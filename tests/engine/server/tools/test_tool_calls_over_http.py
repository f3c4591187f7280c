"""What clients see when a model does call a tool. No tiny model does, so the generator is told what to say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from abatch.engine.loop.stats import EngineStats
from abatch.engine.models.tiny_tokenizer import tiny_tokenizer
from abatch.engine.models.tokenizer import ChatTokenizer
from abatch.engine.request import FinishReason
from abatch.engine.server.app import make_app
from abatch.engine.server.generation import TextDelta, TextGenerator
from abatch.engine.server.metrics import ServerMetrics
from abatch.engine.server.state import STATE, ServerState
from abatch.engine.server.tools.formats import LLAMA3, MISTRAL, ToolFormat
from aiohttp.test_utils import TestClient, TestServer
from support.chat_templates import LLAMA_3_2, MISTRAL_2407
from support.engines import make_ready

_SAID = 'One moment.<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>'
_READY = make_ready()
_TOOLS = [{"type": "function", "function": {"name": "weather"}}]


class ScriptedGenerator(TextGenerator):
    """Says its lines, a few characters at a time."""

    def __init__(self) -> None:
        engine = SimpleNamespace(
            ready=_READY, check=lambda *_, **__: None, is_alive=True, is_responding=True, stats=EngineStats()
        )
        super().__init__(engine, ChatTokenizer(tiny_tokenizer()))  # type: ignore[arg-type]

    async def stream(self, *_: Any) -> AsyncIterator[TextDelta]:  # type: ignore[override]
        for start in range(0, len(_SAID), 7):
            reason = FinishReason.STOP if start + 7 >= len(_SAID) else None
            yield TextDelta(_SAID[start : start + 7], 1, finish_reason=reason)


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    metrics = ServerMetrics(_READY, EngineStats, lambda: True)
    app = make_app(ServerState(ScriptedGenerator(), "scripted", metrics), api_key=None, max_body_bytes=1 << 20)
    async with TestClient(TestServer(app)) as client:
        yield client


def _body(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Weather?"}], **fields}


async def test_a_call_in_a_whole_answer(client: TestClient[Any, Any]) -> None:
    response = await client.post("/v1/chat/completions", json=_body(tools=_TOOLS))
    choice = (await response.json())["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "One moment."
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Rome"}
    assert call["id"].startswith("call_")


async def test_a_call_in_a_stream(client: TestClient[Any, Any]) -> None:
    response = await client.post("/v1/chat/completions", json=_body(tools=_TOOLS, stream=True))
    events = [line.removeprefix("data: ") for line in (await response.text()).split("\n\n") if line]
    assert events.pop() == "[DONE]"
    choices = [json.loads(event)["choices"][0] for event in events]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "One moment."
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls") or []]
    assert [(call["index"], call["function"]["name"]) for call in calls] == [(0, "weather")]
    # OpenAI's client forgets a call in the same chunk.
    assert (choices[-1]["finish_reason"], choices[-1]["delta"]) == ("tool_calls", {})


async def test_tools_that_the_template_has_no_place_for_are_refused(client: TestClient[Any, Any]) -> None:
    assert client.app is not None
    client.app[STATE].generator.tokenizer.hf.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    response = await client.post("/v1/chat/completions", json=_body(tools=_TOOLS))
    assert response.status == 422
    assert (await response.json())["error"]["param"] == "tools"


async def test_without_tools_the_markup_is_text(client: TestClient[Any, Any]) -> None:
    response = await client.post("/v1/chat/completions", json=_body())
    choice = (await response.json())["choices"][0]
    assert choice["message"]["content"] == _SAID
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"


async def test_tools_in_a_format_that_is_unknown_are_refused(client: TestClient[Any, Any]) -> None:
    assert client.app is not None
    client.app[STATE].tool_format = None
    response = await client.post("/v1/chat/completions", json=_body(tools=_TOOLS))
    assert response.status == 422
    assert "--tool-format" in (await response.json())["error"]["message"]


@pytest.mark.parametrize(
    ("tools", "text"),
    [
        (MISTRAL, '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Rome"}}]'),
        (LLAMA3, '<|python_tag|>{"name": "weather", "parameters": {"city": "Rome"}}'),
    ],
)
async def test_calls_go_back_into_the_template_of_the_model(
    client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch, tools: ToolFormat, text: str
) -> None:
    """Mistral's templates take ids of nine letters and digits only."""
    assert client.app is not None
    state = client.app[STATE]
    state.tool_format = tools
    state.generator.tokenizer.hf.chat_template = {"mistral": MISTRAL_2407, "llama3": LLAMA_3_2}[tools.name]
    monkeypatch.setattr(f"{__name__}._SAID", text)
    message = await _answer(client, messages=_MESSAGES)
    assert message["content"] is None
    (call,) = message["tool_calls"]
    monkeypatch.setattr(f"{__name__}._SAID", "It rains.")
    result = {"role": "tool", "tool_call_id": call["id"], "content": "rain"}
    again = await _answer(client, messages=[*_MESSAGES, message, result])
    assert again["content"] == "It rains."


_MESSAGES = [{"role": "user", "content": "Weather?"}]


async def _answer(client: TestClient[Any, Any], **fields: Any) -> dict[str, Any]:
    response = await client.post("/v1/chat/completions", json={"tools": _TOOLS, **fields})
    answer = await response.json()
    assert response.status == 200, answer
    message: dict[str, Any] = answer["choices"][0]["message"]
    return message
