"""What clients put into conversations, and what the chat template gets of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from abatch.engine.server.state import STATE
from aiohttp.test_utils import TestClient
from support.chat_templates import LLAMA_3_2, MISTRAL_2407, QWEN_2_5
from support.scripted_server import Script, scripted_server

_HI = {"role": "user", "content": "hi"}
_CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}> {% endif %}"


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def client(script: Script) -> AsyncIterator[TestClient[Any, Any]]:
    async with scripted_server(script) as server, TestClient(server) as client:
        yield client


async def ask(client: TestClient[Any, Any], template: str | None, *messages: Any, **fields: Any) -> tuple[int, Any]:
    assert client.app is not None
    if template is not None:
        client.app[STATE].generator.tokenizer.hf.chat_template = template
    response = await client.post("/v1/chat/completions", json={"messages": messages, **fields})
    return response.status, await response.json()


_PROMPTS: list[tuple[str, list[dict[str, Any]], dict[str, Any], str]] = [
    (_PLAIN, [{"role": "developer", "content": "x"}, _HI], {}, "system: x\nuser: hi\n> "),
    (_PLAIN + "{# developer #}", [{"role": "developer", "content": "x"}], {}, "developer: x\n> "),
    (
        _PLAIN,
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]}],
        {},
        "user: ab\n> ",
    ),
    (_PLAIN, [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}], {}, "assistant: No.\n> "),
    (_PLAIN, [{"role": "assistant", "content": None, "tool_calls": [_CALL]}], {}, "assistant: \n> "),
    (_PLAIN, [{"role": "assistant", "tool_calls": [_CALL]}], {}, "assistant: \n> "),
    ("{{ messages[0].content is none }}", [{"role": "assistant"}], {}, "False"),
    ("{{ messages[0].reasoning_content }}", [{"role": "assistant", "reasoning_content": "hm"}], {}, "hm"),
    (_PLAIN, [_HI], {"add_generation_prompt": False}, "user: hi\n"),
    (
        _PLAIN,
        [_HI, {"role": "assistant", "content": "Well"}],
        {"continue_final_message": True},
        "user: hi\nassistant: Well",
    ),
    ("{{ enable_thinking }}", [_HI], {"chat_template_kwargs": {"enable_thinking": False}}, "False"),
    (_PLAIN, [_HI], {"tools": [], "stop": None, "user": "me", "tool_choice": "none", "logit_bias": {}}, "user: hi\n> "),
    (_PLAIN, [_HI], {"min_p": 0.0, "repetition_penalty": 1.0, "use_beam_search": False}, "user: hi\n> "),
]


@pytest.mark.parametrize(("template", "messages", "fields", "prompt"), _PROMPTS)
async def test_prompts(
    client: TestClient[Any, Any],
    script: Script,
    template: str,
    messages: list[dict[str, Any]],
    fields: dict[str, Any],
    prompt: str,
) -> None:
    status, answer = await ask(client, template, *messages, **fields)
    assert status == 200, answer
    assert script.prompts == [prompt]


_NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}x"
_REFUSED: list[tuple[str | None, list[dict[str, Any]], dict[str, Any], int, str]] = [
    (_NO_SYSTEM, [{"role": "system", "content": "x"}, _HI], {}, 400, "System role not supported"),
    (_NO_SYSTEM, [{"role": "developer", "content": "x"}, _HI], {}, 400, "System role not supported"),
    (MISTRAL_2407, [_HI, _HI], {}, 400, "must alternate"),
    (MISTRAL_2407, [_HI, {"role": "assistant", "tool_calls": [{**_CALL, "id": "x"}]}], {}, 400, "length 9"),
    (LLAMA_3_2, [_HI, {"role": "assistant", "tool_calls": [_CALL, _CALL]}], {}, 400, "single tool-calls"),
    (QWEN_2_5 + "{{ 1 / 0 }}", [_HI], {}, 400, "chat template failed on the messages: ZeroDivisionError"),
    (None, [_HI], {"stream_options": {"include_usage": True}}, 400, "stream: true"),
    (None, [_HI], {"continue_final_message": True, "add_generation_prompt": True}, 400, "give one of them"),
    (None, [_HI], {"chat_template_kwargs": {"chat_template": "{{ 1 }}"}}, 400, "cannot set chat_template"),
    (None, [_HI], {"chat_template_kwargs": {"messages": []}}, 400, "cannot set messages"),
    (None, [_HI], {"chat_template_kwargs": {"tokenize": True}}, 400, "cannot set tokenize"),
    (None, [_HI], {"min_p": 0.1}, 422, "min_p"),
    (None, [_HI], {"guided_json": {}}, 422, "response_format is"),
    (None, [_HI], {"structured_outputs": {"regex": "a"}}, 422, "response_format is"),
    (None, [_HI], {"repetition_penalty": 1.1}, 422, "repetition_penalty"),
    (None, [{"role": "user", "content": [{"type": "refusal"}]}], {}, 400, "needs a refusal"),
    (None, [{"role": "user", "content": [{"type": "input_audio"}]}], {}, 422, "input_audio"),
]


@pytest.mark.parametrize(("template", "messages", "fields", "status", "says"), _REFUSED)
async def test_what_is_refused(
    client: TestClient[Any, Any],
    template: str | None,
    messages: list[dict[str, Any]],
    fields: dict[str, Any],
    status: int,
    says: str,
) -> None:
    found, answer = await ask(client, template, *messages, **fields)
    assert found == status, answer
    assert says in answer["error"]["message"]
    assert "\n" not in answer["error"]["message"]
