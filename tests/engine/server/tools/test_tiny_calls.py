"""When the tiny model calls tools, and with which arguments."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from abatch.engine.models.grammars.grammar import JSON_OPTIONS, lark_grammar
from abatch.engine.protocol.chat import ChatCompletionRequest
from abatch.engine.protocol.conversation import ChatMessage, FunctionDefinition, Tool
from abatch.engine.server.tools.calls import parse_whole
from abatch.engine.server.tools.forced import call_grammar
from abatch.engine.server.tools.formats import HERMES, LLAMA3, MISTRAL, ToolFormat
from abatch.engine.server.tools.tiny_calls import is_time_to_call, num_calls, with_small_arguments
from support.grammars import TOKENIZER, drawn, tiny_compiler

_NODE = {"type": "object", "properties": {"nodes": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}


@pytest.mark.parametrize(
    ("roles", "is_time"),
    [
        ("user", True),
        ("system user", True),
        ("user assistant user", True),
        ("user assistant tool", False),
        ("user assistant tool user", False),  # Anthropic's clients put reminders behind results
        ("user assistant tool assistant user", True),
        ("user assistant", False),
        ("system", False),
    ],
)
def test_a_question_is_followed_by_calls_and_a_result_by_text(roles: str, is_time: bool) -> None:
    tools = [Tool("function", FunctionDefinition("now"))]
    messages = [ChatMessage(role=role, content="") for role in roles.split()]  # type: ignore[arg-type]
    assert is_time_to_call(ChatCompletionRequest(messages=messages, tools=tools)) is is_time
    assert not is_time_to_call(ChatCompletionRequest(messages=messages, tools=tools, tool_choice="none"))
    assert not is_time_to_call(ChatCompletionRequest(messages=messages))


@pytest.mark.parametrize("tools", [HERMES, LLAMA3, MISTRAL], ids=lambda tools: tools.name)
@pytest.mark.parametrize(("parallel", "counts"), [(None, {1, 2, 3}), (True, {2, 3}), (False, {1})])
def test_parallel_calls_are_those_that_were_asked_for(
    tools: ToolFormat, parallel: bool | None, counts: set[int]
) -> None:
    body = ChatCompletionRequest(messages=[ChatMessage(role="user")], parallel_tool_calls=parallel)
    functions = [with_small_arguments(FunctionDefinition("now"))]
    grammar = lark_grammar(call_grammar(tools, functions, {}, JSON_OPTIONS, num_calls=num_calls(body)))
    text = drawn(tiny_compiler().constraint(grammar), Random(5))
    content, calls = parse_whole(tools.parser(), text)
    assert content == ""
    assert len(calls) in counts


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        {"properties": {"any": {}, "other": True}, "required": ["any", "other", "unlisted"]},
        {"type": "object", "additionalProperties": {"type": "integer"}, "required": ["count"]},
        {"properties": {"tree": {"$ref": "#/$defs/node"}}, "required": ["tree"], "$defs": {"node": _NODE}},
        {"properties": {"x": {"type": "number"}, "y": {"type": "integer", "minimum": 5000}}, "required": ["x", "y"]},
        {"properties": {"x": {"type": "number", "maximum": -5000}}, "required": ["x"]},
        {"properties": {"x": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "required": ["x"]},
        {"properties": {"xs": {"type": "array", "minItems": 5}, "day": {"format": "date", "type": "string"}}},
        {"properties": {"pair": {"type": "array", "prefixItems": [{"type": "boolean"}]}}, "required": ["pair"]},
    ],
    ids=str,
)
def test_arguments_end_by_themselves_and_have_what_the_schema_needs(schema: dict[str, Any] | None) -> None:
    """The grammar of the schema itself takes the text, and the text is short."""
    function = FunctionDefinition("f", parameters=schema)
    small, own = (
        lark_grammar(call_grammar(HERMES, [each], {}, JSON_OPTIONS))
        for each in (with_small_arguments(function), function)
    )
    for seed in range(3):
        text = drawn(tiny_compiler().constraint(small), Random(seed))
        (call,) = parse_whole(HERMES.parser(), text)[1]
        arguments = json.loads(call.arguments)
        assert {*(schema or {}).get("required", ())} <= arguments.keys()
        constraint = tiny_compiler().constraint(own)
        for token in TOKENIZER.encode(text):
            constraint.accept(token)
        assert not constraint.is_broken


@pytest.mark.parametrize("schema", [{"required": 5}, {"properties": [1]}, {"properties": {"a": {"type": [{}]}}}])
def test_what_is_no_schema_is_left_for_the_grammar_to_refuse(schema: dict[str, Any]) -> None:
    function = FunctionDefinition("f", parameters=schema)
    assert with_small_arguments(function) == function
