"""Grammars: what may come next, and what they may cost."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from abatch.engine.errors import RequestError
from abatch.engine.models.grammars.compiler import GrammarCompiler
from abatch.engine.models.grammars.grammar import JSON_OPTIONS, json_grammar, lark_grammar
from abatch.engine.protocol.conversation import FunctionDefinition
from abatch.engine.protocol.fields import JsonSchema, ResponseFormat
from abatch.engine.server.grammars import Grammars
from abatch.engine.server.tools.calls import parse_whole
from abatch.engine.server.tools.forced import call_grammar
from abatch.engine.server.tools.formats import HERMES, LLAMA3, MISTRAL, ToolFormat
from hypothesis import given
from hypothesis import strategies as st
from support.engines import make_ready
from support.grammars import END, TOKENIZER, allowed, drawn, tiny_compiler

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "job": {"oneOf": [{"const": "poet"}, {"type": "null"}]},
    },
    "required": ["name", "age", "job"],
    "additionalProperties": False,
}

_NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return tiny_compiler()


@given(seed=st.integers(0, 2**32))
def test_whatever_is_drawn_is_json_of_the_schema(compiler: GrammarCompiler, seed: int) -> None:
    person = json.loads(drawn(compiler.constraint(json_grammar(PERSON)), Random(seed)))
    assert person.keys() == {"name", "age", "job"}
    assert len(person["name"]) <= 5
    assert 0 <= person["age"] <= 150
    assert person["job"] in ("poet", None)


@pytest.mark.parametrize("tools", [HERMES, LLAMA3, MISTRAL], ids=lambda tools: tools.name)
@given(seed=st.integers(0, 2**32))
def test_a_call_that_is_asked_for_is_one_in_every_format(
    compiler: GrammarCompiler, tools: ToolFormat, seed: int
) -> None:
    """With `$ref`s into the schema of one function, and a name that has to be escaped."""
    referring = {
        **_NOTHING,
        "properties": {"who": {"$ref": "#/$defs/who"}},
        "required": ["who"],
        "$defs": {"who": PERSON},
    }
    functions = [FunctionDefinition('n"\u00e9\\', parameters=referring), FunctionDefinition("now", parameters=_NOTHING)]
    text = drawn(compiler.constraint(lark_grammar(call_grammar(tools, functions, {}, JSON_OPTIONS))), Random(seed))
    content, (call,) = parse_whole(tools.parser(), text)
    assert content == ""
    assert call.name in ('n"\u00e9\\', "now")
    arguments = json.loads(call.arguments)
    assert arguments == {} if call.name == "now" else {*arguments["who"]} == {"name", "age", "job"}


def test_a_marker_that_is_a_token_is_written_as_that(compiler: GrammarCompiler) -> None:
    functions = [FunctionDefinition("now")]
    constraint = compiler.constraint(
        lark_grammar(call_grammar(MISTRAL, functions, {256: "[TOOL_CALLS]"}, JSON_OPTIONS))
    )
    assert allowed(constraint) == [256]


def test_white_space_has_an_end(compiler: GrammarCompiler) -> None:
    constraint = compiler.constraint(json_grammar({"type": "object"}))
    for token in TOKENIZER.encode("{\n" + " " * 40):
        assert token in allowed(constraint)
        constraint.accept(token)
    assert not {*allowed(constraint)} & {*TOKENIZER.encode(" \n\t")}


def test_two_answers_to_the_same_grammar_go_their_own_ways(compiler: GrammarCompiler) -> None:
    one, other = (compiler.constraint(json_grammar({"enum": ["a", "b"]})) for _ in range(2))
    (quote,) = TOKENIZER.encode('"')
    one.accept(quote)
    assert allowed(one) == TOKENIZER.encode("ab")
    assert allowed(other) == [quote]


def test_a_broken_constraint_lets_the_answer_end(compiler: GrammarCompiler) -> None:
    constraint = compiler.constraint(json_grammar({"enum": ["a"]}))
    constraint.accept(0)  # no token of it
    assert constraint.is_broken
    assert allowed(constraint) == [END]


def test_a_grammar_that_does_not_compile_is_one_line(compiler: GrammarCompiler) -> None:
    with pytest.raises(RequestError, match="Unimplemented keys") as caught:
        compiler.constraint(json_grammar({"not": {"type": "string"}}))
    assert "\n" not in str(caught.value)


async def test_a_schema_that_would_compile_for_hours_is_refused() -> None:
    """In a process of its own, after its share of CPU time. The answer is remembered."""
    grammars = Grammars(has_vocabulary=True, check_cpu_s=1)
    patterns = [{"pattern": f"(a|b)*{number}x[0-9]{{1,50}}"} for number in range(100)]
    wanted = ResponseFormat("json_schema", JsonSchema(schema={"type": "string", "allOf": patterns}))
    for _ in range(2):
        with pytest.raises(RequestError, match="too much time or memory"):
            await grammars.grammar_of(wanted, make_ready())


async def test_simulated_devices_refuse_grammars() -> None:
    with pytest.raises(RequestError, match="a simulated device writes letters") as caught:
        await Grammars().grammar_of(ResponseFormat("json_object"), make_ready(simulated=True))
    assert caught.value.status == 422
    assert await Grammars().grammar_of(ResponseFormat("text"), make_ready(simulated=True)) == ""
