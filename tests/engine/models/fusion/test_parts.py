"""Each part is replaced only if it computes the same, and one that looks alike but does not is left with its reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.models.llama.modeling_llama as llama
from abatch.engine.attention.base import AttentionSettings
from abatch.engine.attention.verify import paged_logits
from abatch.engine.models.fusion.agreement import relative_error
from abatch.engine.models.fusion.attention_block import AttentionBlock
from abatch.engine.models.fusion.norms import RmsNorm, rewritten_norm
from abatch.engine.models.fusion.torch_kernels import TorchKernels
from support.models import load, make_model
from torch import nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaDecoderLayer, LlamaMLP, LlamaRMSNorm

KERNELS = TorchKernels()


def scaled_residual(self: LlamaDecoderLayer, hidden_states: torch.Tensor, **options: Any) -> Any:
    """As in Granite."""
    states = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **options)[0]
    hidden_states = hidden_states + 0.9 * states
    return hidden_states + 0.9 * self.mlp(self.post_attention_layernorm(hidden_states))


def parallel(self: LlamaDecoderLayer, hidden_states: torch.Tensor, **options: Any) -> Any:
    """Attention and MLP of the same rows, as in Cohere."""
    states = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **options)[0]
    return hidden_states + states + self.mlp(self.post_attention_layernorm(hidden_states))


def clamped(self: LlamaMLP, x: torch.Tensor) -> torch.Tensor:
    gate, up = self.gate_proj(x).clamp(max=1.0), self.up_proj(x)
    output: torch.Tensor = self.down_proj(self.act_fn(gate) * up)
    return output


def turned_in_neighbours(
    query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs are (2i, 2i + 1), as in GPT-J."""

    def turned(rows: torch.Tensor) -> torch.Tensor:
        half = rows.shape[-1] // 2
        one, other = rows[..., ::2], rows[..., 1::2]
        c, s = cos[:, None, :, :half], sin[:, None, :, :half]
        return torch.stack([one * c - other * s, one * s + other * c], dim=-1).flatten(-2)

    return turned(query), turned(key)


def no_rotation(query: torch.Tensor, key: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return query, key


def unscaled_output(forward: Callable[..., Any]) -> Callable[..., Any]:
    def scaled(self: LlamaAttention, *arguments: Any, **options: Any) -> Any:
        output, weights = forward(self, *arguments, **options)
        return output * 0.9, weights

    return scaled


ADDS = "it does not add what its parts compute as layers with norms before them do"
ATTENDS = "its attention computes queries, keys or values in another way"
LIES: dict[str, tuple[Any, str, Any, str]] = {
    "scaled residual": (LlamaDecoderLayer, "forward", scaled_residual, ADDS),
    "parallel": (LlamaDecoderLayer, "forward", parallel, ADDS),
    "clamped gate": (LlamaMLP, "forward", clamped, "its MLP computes something else than a gated MLP does"),
    "other pairs": (llama, "apply_rotary_pos_emb", turned_in_neighbours, ATTENDS),
    "no rotation": (llama, "apply_rotary_pos_emb", no_rotation, ATTENDS),
    "scaled output": (LlamaAttention, "forward", unscaled_output(LlamaAttention.forward), ATTENDS),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_looks_alike_and_is_not_is_left(
    lie: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, forward, reason = LIES[lie]
    make_model("llama", tmp_path)
    monkeypatch.setattr(owner, name, forward)
    original, rewritten = (load(tmp_path, dtype=dtype, fusion=is_fused) for is_fused in (False, True))
    assert rewritten.layers.startswith("0 of 3 rewritten (")
    assert rewritten.layers.endswith(f"): {reason}")
    logits, expected = (paged_logits(model.module, model.kv_shape, model.device) for model in (rewritten, original))
    assert relative_error(logits, expected) < {"float32": 1e-5, "bfloat16": 0.03}[dtype]


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("llama", [AttentionSettings(scaling=8**-0.5)] * 3),
        ("mistral-sliding", [AttentionSettings(scaling=8**-0.5, sliding_window=11)] * 3),
        ("phi3", [AttentionSettings(scaling=8**-0.5)] * 3),
        (
            "gemma2",
            [AttentionSettings(scaling=8**-0.5, sliding_window=window, softcap=2.0) for window in (7, None, 7)],
        ),
        (
            "gemma3-sliding",
            [AttentionSettings(scaling=256**-0.5, sliding_window=window) for window in (7, None, 7)],
        ),
    ],
)
def test_attention_keeps_its_settings(architecture: str, settings: list[AttentionSettings], tmp_path: Path) -> None:
    make_model(architecture, tmp_path)
    blocks = [block for module in load(tmp_path).module.modules() if (block := vars(module).get("forward"))]
    found = [block for block in blocks if isinstance(block, AttentionBlock)]
    assert [block.layer for block in found] == [0, 1, 2]
    assert [block.settings for block in found] == settings


class ScaledNorm(LlamaRMSNorm):
    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = super().forward(hidden_states)
        return 2 * normed


@pytest.mark.parametrize(
    ("norm", "added", "is_norm"),
    [
        (LlamaRMSNorm(24, eps=1e-5), 0.0, True),
        (GemmaRMSNorm(24), 1.0, True),
        (Gemma3RMSNorm(24), 1.0, True),
        (ScaledNorm(24), 0.0, False),
        (nn.LayerNorm(24, bias=False), 0.0, False),
        (nn.LayerNorm(24), 0.0, False),
        (nn.RMSNorm(24), 0.0, False),  # its epsilon depends on what comes in
        (nn.RMSNorm(24, eps=1e-6), 0.0, True),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@torch.no_grad()
def test_norms_are_found_by_what_they_compute(norm: nn.Module, added: float, is_norm: bool, dtype: torch.dtype) -> None:
    norm = norm.to(dtype)
    norm.get_parameter("weight").normal_(generator=torch.Generator().manual_seed(1))
    found = rewritten_norm(norm, KERNELS)
    assert (found is not None) == is_norm
    if found is not None:
        assert torch.equal(found.weight.float(), norm.get_parameter("weight").float() + added)
        states = torch.randn((2, 3, 24), generator=torch.Generator().manual_seed(2)).to(dtype)
        assert torch.allclose(found(states), norm(states), rtol=0.02, atol=1e-6)


def test_a_norm_of_another_epsilon_is_left() -> None:
    norm: Any = LlamaRMSNorm(24)
    norm.variance_epsilon = 1e-5  # which it does not use
    norm.forward = lambda states: states * torch.rsqrt(states.square().mean(-1, keepdim=True) + 1e-6) * norm.weight
    with torch.no_grad():
        assert rewritten_norm(norm, KERNELS) is None


def test_a_weight_that_kernels_cannot_take_leaves_the_norm() -> None:
    class Strict(TorchKernels):
        def rms_norm(self, rows: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
            if weight.dtype != rows.dtype:
                raise ValueError("a weight of another dtype")
            return super().rms_norm(rows, weight, epsilon)

    norm = GemmaRMSNorm(24).bfloat16()
    with torch.no_grad():
        assert isinstance(rewritten_norm(norm, Strict()), RmsNorm)  # 1 more than 0 is exact
        norm.weight.normal_(generator=torch.Generator().manual_seed(1))
        assert rewritten_norm(norm, Strict()) is None


def test_head_norms_that_do_not_fit_into_their_dtype_leave_attention(tmp_path: Path) -> None:
    model = make_model("gemma3-sliding", tmp_path)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "q_norm" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(1)).copy_(parameter.bfloat16())
    model.save_pretrained(tmp_path)
    assert "3 attention blocks" in load(tmp_path, dtype="float32").layers
    reason = load(tmp_path, dtype="bfloat16").layers.rpartition(": ")[2]
    assert reason in ("its q_norm is more exact than its dtype", "its q_norm is no RMS norm"), "kernels differ in that"
