"""The engine on a CUDA device: the same tokens as `model.generate` there."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch
from abatch.engine.config import BATCHING_MODES, Batching, SchedulerConfig
from abatch.engine.request import Batch
from abatch.engine.runner import LaunchedStep
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


def test_launching_a_step_waits_for_nothing(tmp_path: Path) -> None:
    """A launch that waited for the device would wait for the step before: there would be no running ahead."""
    make_model("llama", tmp_path)
    config = SchedulerConfig(batching="async", max_num_seqs=6, max_num_batched_tokens=64, max_model_len=64)
    engine = make_engine(load(tmp_path, device="cuda", dtype="float32"), config, num_blocks=40, block_size=4)
    runner = engine.engine._runner
    launch = runner.launch
    engine.generate([[5, 6, 7]], [4])  # what is loaded lazily may wait

    def guarded(batch: Batch) -> LaunchedStep:
        torch.cuda.set_sync_debug_mode("error")
        try:
            return launch(batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    runner.launch = guarded  # type: ignore[method-assign]
    engine.generate([[5, 6, 7], list(range(3, 40))], [8, 8])


def test_the_device_s_time_is_told_by_its_events(tmp_path: Path) -> None:
    make_model("llama", tmp_path)
    config = SchedulerConfig(batching="async", max_num_seqs=6, max_num_batched_tokens=64, max_model_len=64)
    engine = make_engine(load(tmp_path, device="cuda", dtype="float32"), config, num_blocks=40, block_size=4)
    engine.generate([[5, 6, 7]] * 4, [30] * 4)
    totals = engine.engine.totals
    assert totals.num_steps >= 30
    assert totals.device_busy_s > 0
