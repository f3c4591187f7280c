"""A model whose layers went through torch.compile says the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from abatch.engine.attention.base import register
from abatch.engine.models.loader import compile_layers
from abatch.engine.scheduling.limits import SchedulerConfig
from support.models import generate_one_by_one, load, make_engine, make_model


@pytest.fixture
def compiler() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()
    register()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("compiler")
def test_layers_share_one_compilation_whatever_the_size_of_a_step(tmp_path: Path) -> None:
    """The compiler itself takes ten seconds for the few graphs that there are."""
    reference = make_model("llama", tmp_path)
    model = load(tmp_path, compile=True)
    assert compile_layers(model.module) == 3
    config = SchedulerConfig(batching="async", max_num_seqs=8, max_num_batched_tokens=20, max_model_len=64)
    prompts = [[5, 6, 7], list(range(3, 40)), [9] * 20, [4]]
    engine = make_engine(model, config, num_blocks=40, block_size=4)
    assert engine.generate(prompts, [8] * 4) == generate_one_by_one(reference, prompts, [8] * 4)
    num_graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    # Pieces between one attention and the next, each for a single token and for any number: no more for more layers.
    assert num_graphs <= 8
    engine.generate([[7] * length for length in (2, 9, 31)], [5] * 3)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == num_graphs
