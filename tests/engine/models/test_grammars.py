"""Grammars: what may come next, and what they may cost."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from abatch.engine.errors import RequestError
from abatch.engine.models.grammars.compiler import Constraint, GrammarCompiler
from abatch.engine.models.grammars.grammar import json_grammar
from abatch.engine.models.tiny_tokenizer import tiny_tokenizer
from abatch.engine.models.tokenizer import ChatTokenizer
from abatch.engine.protocol.fields import JsonSchema, ResponseFormat
from abatch.engine.server.grammars import Grammars
from hypothesis import given
from hypothesis import strategies as st
from support.engines import make_ready

_TOKENIZER = ChatTokenizer(tiny_tokenizer())
_END = next(iter(_TOKENIZER.eos_token_ids))
_VOCAB_SIZE = 300  # more than the tokenizer knows
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


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    vocabulary = _TOKENIZER.vocabulary()
    assert vocabulary is not None
    return GrammarCompiler(vocabulary, _VOCAB_SIZE, [_END])


def allowed(constraint: Constraint) -> list[int]:
    mask = constraint.mask()
    assert len(mask) * 8 >= _VOCAB_SIZE
    return [token for token in range(_VOCAB_SIZE) if mask[token // 8] >> token % 8 & 1]


@given(seed=st.integers(0, 2**32))
def test_whatever_is_drawn_is_json_of_the_schema(compiler: GrammarCompiler, seed: int) -> None:
    random = Random(seed)
    constraint = compiler.constraint(json_grammar(PERSON))
    ids: list[int] = []
    while len(ids) < 300 and _END not in ids:
        ids.append(random.choice(allowed(constraint)))
        constraint.accept(ids[-1])
    assert ids.pop() == _END
    person = json.loads(_TOKENIZER.decode(ids))
    assert person.keys() == {"name", "age", "job"}
    assert len(person["name"]) <= 5
    assert 0 <= person["age"] <= 150
    assert person["job"] in ("poet", None)


def test_white_space_has_an_end(compiler: GrammarCompiler) -> None:
    constraint = compiler.constraint(json_grammar({"type": "object"}))
    for token in _TOKENIZER.encode("{\n" + " " * 40):
        assert token in allowed(constraint)
        constraint.accept(token)
    assert not {*allowed(constraint)} & {*_TOKENIZER.encode(" \n\t")}


def test_two_answers_to_the_same_grammar_go_their_own_ways(compiler: GrammarCompiler) -> None:
    one, other = (compiler.constraint(json_grammar({"enum": ["a", "b"]})) for _ in range(2))
    (quote,) = _TOKENIZER.encode('"')
    one.accept(quote)
    assert allowed(one) == _TOKENIZER.encode("ab")
    assert allowed(other) == [quote]


def test_a_broken_constraint_lets_the_answer_end(compiler: GrammarCompiler) -> None:
    constraint = compiler.constraint(json_grammar({"enum": ["a"]}))
    constraint.accept(0)  # no token of it
    assert constraint.is_broken
    assert allowed(constraint) == [_END]


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
