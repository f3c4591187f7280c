"""The engine on a CUDA device: the same tokens as `model.generate` there."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch
from abatch.engine.config import BATCHING_MODES, Batching, SchedulerConfig
from support.models import VOCAB_SIZE, generate_one_by_one, load, make_engine, make_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("architecture", ["llama", "mistral-sliding", "gpt2"])
@pytest.mark.parametrize("batching", BATCHING_MODES)
def test_greedy_equality_in_float32(architecture: str, batching: Batching, tmp_path: Path) -> None:
    reference = make_model(architecture, tmp_path).to("cuda")  # type: ignore[arg-type]
    random = Random(0)
    prompts = [[random.randrange(3, VOCAB_SIZE) for _ in range(random.randint(1, 40))] for _ in range(10)]
    config = SchedulerConfig(batching=batching, max_num_seqs=6, max_num_batched_tokens=24, max_model_len=64)
    engine = make_engine(load(tmp_path, device="cuda", dtype="float32"), config, num_blocks=20, block_size=4)
    assert engine.generate(prompts, [12] * 10) == generate_one_by_one(reference, prompts, [12] * 10)
