"""What is sent in each API: the same conversation, as the API has it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from abatch.engine.protocol.conversation import ChatMessage, ContentPart, FunctionCall, ToolCall
from abatch.workloads.targets.target import Call
from abatch.workloads.targets.wire.api import RequestSettings, request_body
from abatch.workloads.targets.wire.apis import APIS

_PLAIN = [ChatMessage(role="user", content="hi")]
_WITH_TOOLS = [
    ChatMessage(role="system", content="Be brief."),
    ChatMessage(role="user", content=[ContentPart(type="text", text="Weather"), ContentPart(type="text", text="?")]),
    ChatMessage(
        role="assistant",
        content="Let me see.",
        tool_calls=[
            ToolCall(id="c1", function=FunctionCall("weather", '{"city": "Paris"}')),
            ToolCall(id="c2", function=FunctionCall("weather", "Rome")),
        ],
    ),
    ChatMessage(role="tool", tool_call_id="c1", content="sunny"),
    ChatMessage(role="tool", tool_call_id="c2", content="rain"),
    ChatMessage(role="developer", content="In French."),
    ChatMessage(role="user", content="Go on."),
]


def body(api: str, messages: list[ChatMessage], *, ignore_eos: bool = True, **settings: Any) -> dict[str, Any]:
    """As the server gets it."""
    call = Call(messages, 40, "s", ignore_eos=ignore_eos, seed=7)
    sent = request_body(APIS[api], call, RequestSettings("m", **settings))
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(sent))
    return decoded


_EXACTLY = {"temperature": 0.0, "stream": True, "ignore_eos": True, "min_tokens": 40}


def test_a_question_in_each_api() -> None:
    usage = {"stream_options": {"include_usage": True}, "seed": 7}
    message = {"role": "user", "content": "hi"}
    limit = {"model": "m", "max_tokens": 40}
    assert body("chat", _PLAIN) == {**limit, "messages": [message], **_EXACTLY, **usage}
    assert body("completions", _PLAIN) == {**limit, "prompt": "hi", **_EXACTLY, **usage}
    assert body("messages", _PLAIN) == {**limit, "messages": [message], **_EXACTLY}
    assert body("responses", _PLAIN) == {
        "model": "m",
        "input": [message],
        "max_output_tokens": 40,
        "store": False,
        **_EXACTLY,
    }


@pytest.mark.parametrize("api", APIS)
def test_what_a_server_refuses_or_a_user_wants_besides(api: str) -> None:
    """Real servers of Responses and Messages refuse what their API does not have."""
    sent = body(
        api,
        _PLAIN,
        max_tokens_field="max_completion_tokens",
        takes_ignore_eos=False,
        left_out=frozenset(["temperature"]),
        extra={"top_k": 1, "stream": False},
    )
    assert (sent["top_k"], sent["stream"], sent["max_completion_tokens"]) == (1, False, 40)
    assert not {"temperature", "ignore_eos", "min_tokens", "max_tokens", "max_output_tokens"} & sent.keys()
    assert not {"ignore_eos", "min_tokens"} & body(api, _PLAIN, ignore_eos=False).keys()


def test_tools_and_instructions_in_responses() -> None:
    sent = body("responses", _WITH_TOOLS)
    assert sent["instructions"] == "Be brief."
    assert sent["input"] == [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Paris"}'},
        {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "Rome"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {"type": "function_call_output", "call_id": "c2", "output": "rain"},
        {"role": "developer", "content": "In French."},
        {"role": "user", "content": "Go on."},
    ]


def test_tools_and_instructions_in_messages() -> None:
    """Roles take turns; all results of tools are in one message; there is one place for instructions."""
    sent = body("messages", _WITH_TOOLS)
    assert sent["system"] == "Be brief.\n\nIn French."
    assert sent["messages"] == [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Paris"}},
                {"type": "tool_use", "id": "c2", "name": "weather", "input": {"arguments": "Rome"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "sunny"},
                {"type": "tool_result", "tool_use_id": "c2", "content": "rain"},
                {"type": "text", "text": "Go on."},
            ],
        },
    ]


def test_messages_refuse_empty_texts() -> None:
    """An answer may well be empty; the questions around it become one."""
    empty = [*_PLAIN, ChatMessage(role="assistant", content=""), ChatMessage(role="user", content="well?")]
    (sent,) = body("messages", empty)["messages"]
    assert sent == {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "well?"}]}


def test_a_prompt_begins_with_all_that_came_before() -> None:
    """A prefix cache has seen the prompt and the answer as the server wrote it."""
    first = body("completions", _WITH_TOOLS[:2])["prompt"]
    assert first == "Be brief.\n\nWeather?"
    whole = body("completions", _WITH_TOOLS)["prompt"]
    assert whole.startswith(first + "Let me see.")
    assert whole.endswith('weather({"city": "Paris"})\nweather(Rome)\n\nsunny\n\nrain\n\nIn French.\n\nGo on.')


def test_keys_where_the_api_wants_them() -> None:
    assert APIS["messages"].headers("k") == {"anthropic-version": "2023-06-01", "x-api-key": "k"}
    assert APIS["messages"].headers(None) == {"anthropic-version": "2023-06-01"}
    assert all(APIS[name].headers("k") == {} for name in ("chat", "completions", "responses"))
