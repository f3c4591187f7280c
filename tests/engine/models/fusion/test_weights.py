"""Weights are never there twice."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from abatch.engine.models.fusion.linears import PackedEmbedding
from abatch.engine.models.loader import LoadedModel
from support.models import load, make_model
from torch import nn


def live_bytes(smallest: int) -> int:
    """Of all tensors there are, of at least so many numbers, storages that are shared once."""
    gc.collect()
    found = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor) and thing.numel() >= smallest:
            # What oneDNN has reordered has no storage that could be asked for.
            key = id(thing) if thing.is_mkldnn else thing.untyped_storage().data_ptr()
            found[key] = thing.numel() * thing.element_size()
    return sum(found.values())


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("architecture", ["llama", "phi3", "gemma", "qwen2-moe"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_rewritten_model_takes_no_more_memory(architecture: str, is_tied: bool, dtype: str, tmp_path: Path) -> None:
    # Outputs that fill panels of the kernels in C++, so that nothing is added for the rest of one.
    sizes = {"hidden_size": 96, "intermediate_size": 96, "vocab_size": 480}
    make_model(architecture, tmp_path, tie_word_embeddings=is_tied, **sizes)
    counts = []
    for is_fused in (False, True):
        before = live_bytes(512)
        model = load(tmp_path, dtype=dtype, fusion=is_fused)
        counts.append(live_bytes(512) - before)
        assert isinstance(model, LoadedModel)
        del model
    assert 20_000 < counts[0] <= counts[1] < 1.1 * counts[0]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux says what is mapped")
def test_the_file_of_the_weights_is_not_kept_in_memory(tmp_path: Path) -> None:
    make_model("gemma", tmp_path)
    model = load(tmp_path)
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    assert isinstance(model, LoadedModel)


def test_an_embedding_reads_the_weights_of_the_head(tmp_path: Path) -> None:
    make_model("llama", tmp_path, tie_word_embeddings=True)
    model = load(tmp_path)
    (embedding,) = (module for module in model.module.modules() if isinstance(module, nn.Embedding))
    (head,) = (module for name, module in model.module.named_modules() if name == "lm_head")
    forward = vars(embedding)["forward"]
    assert isinstance(forward, PackedEmbedding)
    assert forward.packed is vars(head)["forward"].packed
    assert not list(embedding.parameters())
    with pytest.raises(IndexError):  # a token in flight that was never filled in
        embedding(torch.tensor([[3, -1]]))
