"""Answers that keep to a grammar, in every batching mode: what may come next depends on the token before."""

from __future__ import annotations

import json

import pytest
from abatch.engine.models.grammars.compiler import GrammarCompiler
from abatch.engine.models.grammars.grammar import json_grammar
from abatch.engine.models.tiny_tokenizer import tiny_tokenizer
from abatch.engine.models.tokenizer import ChatTokenizer
from abatch.engine.request import FinishReason, Request, SamplingParams
from abatch.engine.scheduling.limits import BATCHING_MODES, Batching, SchedulerConfig
from support.models import AheadRunner, LateRunner, TestEngine, load, make_engine

_TOKENIZER = ChatTokenizer(tiny_tokenizer())
_END = next(iter(_TOKENIZER.eos_token_ids))
_SCHEMA = {"type": "array", "items": {"enum": ["poet", "engineer"]}, "minItems": 2, "maxItems": 3}


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    vocabulary = _TOKENIZER.vocabulary()
    assert vocabulary is not None
    return GrammarCompiler(vocabulary, 259, [_END])


def engine_of(batching: Batching, ahead: type[AheadRunner], num_blocks: int) -> TestEngine:
    config = SchedulerConfig(batching=batching, max_num_seqs=6, max_num_batched_tokens=32, max_model_len=80)
    return make_engine(load("tiny"), config, num_blocks=num_blocks, block_size=4, ahead=ahead)


def answers(engine: TestEngine, compiler: GrammarCompiler) -> dict[str, tuple[list[int], FinishReason | None]]:
    """Six requests of which every second is constrained; all draw by seeds of their own."""
    outputs: dict[str, list[int]] = {str(number): [] for number in range(6)}
    reasons: dict[str, FinishReason | None] = {}
    for number in range(6):
        sampling = SamplingParams(
            max_tokens=60 if number < 5 else 9, seed=number, stop_token_ids=frozenset([_END]), presence_penalty=0.5
        )
        request = Request(str(number), list(range(1, 8 + number)), sampling)
        if number % 2:
            request.constraint = compiler.constraint(json_grammar(_SCHEMA))
        engine.engine.submit(request)
    while engine.engine.has_work:
        for output in engine.engine.step():
            assert output.token_id is not None
            outputs[output.request_id].append(output.token_id)
            reasons[output.request_id] = output.finish_reason
    return {name: (ids, reasons[name]) for name, ids in outputs.items()}


@pytest.mark.parametrize("batching", BATCHING_MODES)
@pytest.mark.parametrize("ahead", [AheadRunner, LateRunner])
def test_constrained_answers_keep_to_their_schema_beside_others(
    compiler: GrammarCompiler, batching: Batching, ahead: type[AheadRunner]
) -> None:
    """With room for all of them, and with so little that they are preempted and computed again."""
    roomy = answers(engine_of(batching, ahead, 120), compiler)
    engine = engine_of(batching, ahead, 24)
    assert answers(engine, compiler) == roomy
    assert engine.scheduler.num_preemptions > 0
    assert roomy == answers(engine_of("continuous", AheadRunner, 120), compiler)
    for name in ("1", "3"):
        ids, reason = roomy[name]
        assert reason is FinishReason.STOP
        assert ids.pop() == _END
        assert {*json.loads(_TOKENIZER.decode(ids))} <= {"poet", "engineer"}
    ids, reason = roomy["5"]
    assert (len(ids), reason) == (9, FinishReason.LENGTH)
    assert _TOKENIZER.decode(ids).lstrip(" \n\t").startswith("[")


def test_an_answer_whose_constraint_breaks_ends_unfinished(compiler: GrammarCompiler) -> None:
    engine = engine_of("async", LateRunner, 40)
    request = Request("one", [1, 2, 3], SamplingParams(max_tokens=60, stop_token_ids=frozenset([_END])))
    constraint = request.constraint = compiler.constraint(json_grammar(_SCHEMA))
    engine.engine.submit(request)
    outputs = []
    while engine.engine.has_work:
        outputs += engine.engine.step()
        if len(outputs) == 4 and not constraint.is_broken:
            constraint.accept(0)
    assert outputs[-1].token_id == _END
    assert outputs[-1].finish_reason is FinishReason.LENGTH
    assert len(outputs) <= 6
