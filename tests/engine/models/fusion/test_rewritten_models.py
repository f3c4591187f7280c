"""Rewritten models say the same, and what is rewritten of each architecture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from abatch.engine.attention.verify import paged_logits
from abatch.engine.models.fusion.agreement import relative_error
from abatch.engine.models.fusion.fuse import fuse
from abatch.engine.models.fusion.torch_kernels import TorchKernels
from abatch.engine.models.loader import LoadedModel
from abatch.engine.scheduling.limits import SchedulerConfig
from support.models import ARCHITECTURES, generate_one_by_one, load, make_engine, make_model

ALL = "3 of 3 rewritten"
GEMMA = "the gate of its MLP is not SiLU"
REWRITTEN = {
    "llama": ALL,
    "qwen3": ALL,
    "mistral-sliding": ALL,
    "gemma": f"0 of 3 rewritten (3 attention blocks, 7 norms, 9 linear layers): {GEMMA}",
    "gemma2": f"0 of 3 rewritten (3 attention blocks, 13 norms, 9 linear layers): {GEMMA}",
    "gemma3-sliding": f"0 of 3 rewritten (3 attention blocks, 13 norms, 9 linear layers): {GEMMA}",
    "phi3": ALL,
    "olmo2": "0 of 3 rewritten (3 MLPs, 13 norms, 13 linear layers): its q_norm spans all heads",
    "qwen2-moe": "0 of 3 rewritten (3 attention blocks, 3 MLPs, 7 norms, 4 linear layers): "
    "its MLP is a Qwen2MoeSparseMoeBlock",
    "gpt2": "0 of 3 rewritten (1 linear layer): it has other parts than a norm, attention, a norm and an MLP",
}
MOST_ERROR = {"float32": 1e-5, "bfloat16": 0.03}


def logits_of(model: LoadedModel) -> torch.Tensor:
    return paged_logits(model.module, model.kv_shape, model.device)


@pytest.mark.parametrize("is_plain", [False, True], ids=["as chosen", "plain torch"])
@pytest.mark.parametrize("dtype", MOST_ERROR)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_those_of_the_model_as_it_was(
    architecture: str, dtype: str, is_plain: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the kernels of this machine, and with those of one that has no compiler."""
    if is_plain:
        monkeypatch.setattr("abatch.engine.models.fusion.fuse.choose_kernels", lambda *_: TorchKernels())
    make_model(architecture, tmp_path)
    original, rewritten = (load(tmp_path, dtype=dtype, fusion=is_fused) for is_fused in (False, True))
    assert (original.layers, rewritten.layers) == ("", REWRITTEN[architecture])
    assert original.dtype == rewritten.dtype == getattr(torch, dtype)
    assert relative_error(logits_of(rewritten), logits_of(original)) < MOST_ERROR[dtype]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tokens_are_those_of_generate_without_rewriting_too(architecture: str, tmp_path: Path) -> None:
    """With it, they are in `test_equality`."""
    reference = make_model(architecture, tmp_path)
    config = SchedulerConfig(batching="continuous", max_num_seqs=4, max_num_batched_tokens=16, max_model_len=64)
    engine = make_engine(load(tmp_path, fusion=False), config, num_blocks=40, block_size=4)
    prompts = [[5, 6, 7], list(range(3, 40)), [9] * 20]
    assert engine.generate(prompts, [8] * 3) == generate_one_by_one(reference, prompts, [8] * 3)


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("llama", {"tie_word_embeddings": True}),
        ("llama", {"head_dim": 4}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}}),
        ("qwen2-moe", {"mlp_only_layers": [0, 1, 2]}),
        ("qwen3", {"attention_bias": True, "tie_word_embeddings": True}),
        ("phi3", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}),
    ],
    ids=str,
)
def test_variants_of_what_is_known_are_rewritten_as_well(
    architecture: str, changes: dict[str, object], tmp_path: Path
) -> None:
    model = make_model(architecture, tmp_path, **changes)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.5)
    model.save_pretrained(tmp_path)
    original, rewritten = (load(tmp_path, fusion=is_fused) for is_fused in (False, True))
    assert rewritten.layers == ALL
    assert relative_error(logits_of(rewritten), logits_of(original)) < 1e-5


def test_tiny_is_rewritten() -> None:
    original, rewritten = (load("tiny", fusion=is_fused) for is_fused in (False, True))
    assert rewritten.layers == "2 of 2 rewritten"
    assert relative_error(logits_of(rewritten), logits_of(original)) < 1e-5


def test_layers_that_are_to_be_compiled_are_not_rewritten(tmp_path: Path) -> None:
    make_model("llama", tmp_path)
    assert load(tmp_path, compile=True).layers == ""


def test_a_model_that_is_another_one_as_a_whole_is_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model("llama", tmp_path)

    class Loud(TorchKernels):
        """Agrees on what parts are tried with, which is short."""

        def gate(self, gate_up: torch.Tensor) -> torch.Tensor:
            return super().gate(gate_up) * (1.0 if len(gate_up) < 6 else 1.5)

    class Failing(TorchKernels):
        def gate(self, gate_up: torch.Tensor) -> torch.Tensor:
            if len(gate_up) > 5:
                raise RuntimeError("no kernel for so many rows")
            return super().gate(gate_up)

    original = load(tmp_path, fusion=False)
    for kernels in (Loud(), Failing()):
        monkeypatch.setattr("abatch.engine.models.fusion.fuse.choose_kernels", lambda *_, found=kernels: found)
        spoilt = load(tmp_path)
        assert spoilt.layers == "left as they are: each part agreed when rewritten, the whole model did not"
        assert torch.equal(logits_of(spoilt), logits_of(original))


def test_reasons_that_hold_for_some_layers_are_counted(tmp_path: Path) -> None:
    make_model("qwen2-moe", tmp_path, mlp_only_layers=[1])
    model = load(tmp_path, fusion=False)
    report = fuse(model.module, TorchKernels(), model.device)
    assert report.rewritten["layers"] == 1
    assert report.left == {"its MLP is a Qwen2MoeSparseMoeBlock": 2}
    assert str(report).startswith("1 of 3 rewritten (")
    assert str(report).endswith("): of 2, its MLP is a Qwen2MoeSparseMoeBlock")
