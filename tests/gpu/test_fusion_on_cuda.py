"""Rewritten layers on a CUDA device, and decodes in parts that one program puts together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from abatch.engine.attention.base import AttentionSettings, ChunkLayout
from abatch.engine.attention.early_launch import early_launch
from abatch.engine.attention.paged_triton import TritonBackend
from abatch.engine.device.recorded_steps import GraphRecorder
from abatch.engine.scheduling.limits import SchedulerConfig
from support.attention import History, Shape
from support.models import generate_one_by_one, load, make_engine, make_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def test_kernels_are_launched_early_where_the_device_and_its_driver_can() -> None:
    driver = torch._C._cuda_getDriverVersion  # type: ignore[attr-defined]  # builds without CUDA lack it
    is_new = torch.cuda.get_device_capability() >= (9, 0) and driver() >= 12_040
    assert early_launch()["EARLY"] == is_new


@pytest.mark.parametrize("is_fused", [True, False])
@pytest.mark.parametrize("architecture", ["qwen3", "phi3"])
def test_layers_say_the_same_rewritten_and_as_they_were(architecture: str, is_fused: bool, tmp_path: Path) -> None:
    """Those with norms of heads, and those whose weights come packed. All others here have rewritten layers as well."""
    reference = make_model(architecture, tmp_path).to("cuda")  # type: ignore[arg-type]
    model = load(tmp_path, device="cuda", dtype="float32", fusion=is_fused)
    assert model.layers == ("3 of 3 rewritten" if is_fused else "")
    config = SchedulerConfig(batching="async", max_num_seqs=6, max_num_batched_tokens=24, max_model_len=64)
    engine = make_engine(model, config, num_blocks=40, block_size=4, attention="triton", record=GraphRecorder())
    prompts = [[5, 6, 7], list(range(3, 40)), [9] * 20]
    assert engine.generate(prompts, [12] * 3) == generate_one_by_one(reference, prompts, [12] * 3)


def test_which_program_comes_last_does_not_show() -> None:
    """It puts the parts of a sequence together, in their order: a seeded answer must not depend on who it was."""
    shape = Shape(8, 2, 64, 16, torch.bfloat16)
    history = History(shape, [0] * 8, 400, seed=1, device="cuda")
    backend = TritonBackend(history.cache, num_slots=12, max_num_pages=64)
    history.step(backend, {index: 60 * index + 5 for index in range(8)})
    chunks = [
        ChunkLayout(index, 1, 60 * index + 4, history.block_ids[index], slot)
        for index, slot in enumerate(history.slots)
    ]
    step = backend.plan(chunks)
    assert step.decode is not None
    assert step.decode.parts.counts.max() > 4
    query, key = (torch.randn(8, heads, 64, device="cuda").bfloat16() for heads in (8, 2))
    settings = AttentionSettings(scaling=0.125)
    outputs = [step.attend(0, query, key, key, settings) for _ in range(200)]
    assert all(output.equal(outputs[0]) for output in outputs)
    assert not backend.arrived.any()
