"""Whatever the scheduler does, the tokens are those of `model.generate`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random

import pytest
from abatch.engine.integers import ceil_div
from abatch.engine.models.loader import LoadedModel
from abatch.engine.scheduling.limits import BATCHING_MODES, Batching, SchedulerConfig
from support.models import ARCHITECTURES, VOCAB_SIZE, generate_one_by_one, load, make_engine, make_model
from transformers import AutoModelForCausalLM, PreTrainedModel


@pytest.fixture(scope="module", params=ARCHITECTURES)
def models(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PreTrainedModel, LoadedModel]:
    """The same random weights, once as transformers runs them and once as the engine does."""
    folder = tmp_path_factory.mktemp(request.param)
    return make_model(request.param, folder), load(folder)


def mixed_prompts(random: Random, count: int, vocab_size: int, longest: int) -> list[list[int]]:
    """Prompts of which half continue one of two common prefixes."""
    prefixes = [[random.randrange(3, vocab_size) for _ in range(longest // 2)] for _ in range(2)]
    prompts = []
    for _ in range(count):
        tail = [random.randrange(3, vocab_size) for _ in range(random.randint(1, longest // 2))]
        prompts.append(random.choice(prefixes) + tail if random.random() < 0.5 else tail)
    return prompts


@pytest.mark.parametrize("seed", range(3))
def test_random_batches_on_every_architecture(models: tuple[PreTrainedModel, LoadedModel], seed: int) -> None:
    """In every batching mode."""
    reference, loaded = models
    random = Random(seed)
    prompts = mixed_prompts(random, 10, VOCAB_SIZE, 48)
    limits = [random.randint(1, 16) for _ in prompts]
    expected = generate_one_by_one(reference, prompts, limits)
    block_size = (1, 4, 16)[seed]
    # Hardly more than the longest request: preemption is certain.
    num_blocks = ceil_div(64, block_size) + 8 // block_size + 1
    max_num_seqs, max_num_batched_tokens = random.randint(2, 8), random.randint(8, 40)
    for batching in BATCHING_MODES:
        config = SchedulerConfig(
            batching=batching,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            max_model_len=64,
            window_size=4,
            window_timeout_s=0.01,
        )
        engine = make_engine(loaded, config, num_blocks=num_blocks, block_size=block_size)
        assert engine.generate(prompts, limits) == expected, batching
        assert engine.scheduler.blocks.num_free == num_blocks


def test_the_random_batches_do_preempt_and_do_hit_the_prefix_cache(tmp_path: Path) -> None:
    """The test above means something: what it is about happens under the same sizes."""
    make_model("llama", tmp_path)
    random = Random(1)
    prompts = mixed_prompts(random, 10, VOCAB_SIZE, 48)
    config = SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=20, max_model_len=64)
    engine = make_engine(load(tmp_path), config, num_blocks=19, block_size=4)
    engine.generate(prompts, [16] * 10)
    assert engine.scheduler.num_preemptions > 0
    assert engine.scheduler.num_cached_tokens > 0


@cache
def _smollm2(folder: Path) -> tuple[PreTrainedModel, LoadedModel]:
    return AutoModelForCausalLM.from_pretrained(folder), load(folder)


@cache
def _smollm2_reference(folder: Path) -> tuple[list[list[int]], list[int], list[list[int]]]:
    random = Random(7)
    prompts = mixed_prompts(random, 8, 40000, 96)
    limits = [random.randint(4, 12) for _ in prompts]
    return prompts, limits, generate_one_by_one(_smollm2(folder)[0], prompts, limits)


_SIZES = {"room": (16, 64, 256), "no-room": (4, 31, 24)}
"""Tokens of a block, blocks, and tokens of a step: with room for all requests, and where some are preempted."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "batching"),
    [
        ("no-room", "async"),
        ("no-room", "continuous"),
        pytest.param("no-room", "window", marks=pytest.mark.nightly),
        ("room", "async"),
        pytest.param("room", "continuous", marks=pytest.mark.nightly),
        pytest.param("room", "window", marks=pytest.mark.nightly),
    ],
)
def test_real_weights(smollm2: Path, sizes: str, batching: Batching) -> None:
    """A CPU takes a tenth of a second for each step of a real model."""
    block_size, num_blocks, budget = _SIZES[sizes]
    prompts, limits, expected = _smollm2_reference(smollm2)
    config = SchedulerConfig(
        batching=batching, max_num_seqs=8, max_num_batched_tokens=budget, max_model_len=120, window_size=3
    )
    engine = make_engine(_smollm2(smollm2)[1], config, num_blocks=num_blocks, block_size=block_size)
    assert engine.generate(prompts, limits) == expected
    if num_blocks == 31 and batching == "continuous":
        assert engine.scheduler.num_preemptions > 0
