"""Decoder layers that norm, attend, norm and gate: each residual is added in the product before it, in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...attention.base import Rotation, StepAttention
from ...native.layer_kernels import NativeKernels, NativeWeight
from .agreement import TROUBLE, agree, random_rows
from .attention_block import AttentionBlock
from .calls import Call, ListeningStep
from .gated_mlp import GatedMlp
from .native_layer import NativeLayer
from .norms import RmsNorm
from .replacing import LeftError, replace_forward

_PARTS = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """In place of the forward of a module. Writes over its input.

    `at_once`: all of it in one call, where a step attends by what that knows.
    """

    input_norm: RmsNorm
    attention: AttentionBlock
    attention_norm: RmsNorm
    mlp: GatedMlp
    at_once: NativeLayer | None

    def __call__(
        self,
        hidden_states: torch.Tensor,
        *,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        step_attention: StepAttention,
        **_: Any,
    ) -> torch.Tensor:
        total = hidden_states.reshape(-1, hidden_states.shape[-1])
        rotation = Rotation(position_embeddings[0][0], position_embeddings[1][0])
        if self.at_once is not None and self.at_once.run(total, rotation, step_attention):
            return total.view(hidden_states.shape)
        attended = self.attention.attended(self.input_norm.rows(total), position_embeddings, step_attention)
        self.attention.output.add_product(attended, total)
        self.mlp.down.add_product(self.mlp.gated(self.attention_norm.rows(total)), total)
        return total.view(hidden_states.shape)


@dataclass(frozen=True, slots=True)
class LayerExample:
    """What a layer makes of some rows while it is as it was. What it adds is as large as the rows are."""

    call: Call
    rows: torch.Tensor
    output: torch.Tensor


def example_of(layer: nn.Module, call: Call | None) -> LayerExample | None:
    """None if the layer is not called, or answers, otherwise than those of transformers."""
    if call is None:
        return None
    like = next(layer.parameters())
    rows = random_rows(call.shape, like)
    added = _output(layer, call, rows)
    if added is None:
        return None
    scale = (added.float() - rows.float()).std().item()
    rows = random_rows(call.shape, like, scale=scale)
    output = _output(layer, call, rows)
    return None if output is None else LayerExample(call, rows, output)


def _output(layer: nn.Module, call: Call, rows: torch.Tensor) -> torch.Tensor | None:
    output = call.repeat(layer, rows.clone(), ListeningStep())
    return output if isinstance(output, torch.Tensor) and output.shape == rows.shape else None


def rewrite_layer(layer: nn.Module, example: LayerExample | None) -> None:
    """Have a layer add its residuals within its products, once its parts are rewritten.

    Raises:
        LeftError: it computes something else, or some part of it does, and is as it was.
    """
    others = [child for name, child in layer.named_children() if name not in _PARTS]
    parts = [getattr(layer, name, None) for name in _PARTS]
    if None in parts or not all(isinstance(child, nn.Dropout | nn.Identity) for child in others):
        raise LeftError("it has other parts than a norm, attention, a norm and an MLP")
    input_norm, attention, attention_norm, mlp = (getattr(part, "forward", None) for part in parts)
    if not (isinstance(input_norm, RmsNorm) and isinstance(attention_norm, RmsNorm)):
        raise LeftError("its norms are no RMS norms")
    if not isinstance(attention, AttentionBlock):
        raise LeftError(f"its attention is a {type(parts[1]).__name__}")
    if not isinstance(mlp, GatedMlp):
        raise LeftError(f"its MLP is a {type(parts[3]).__name__}")
    if example is None:
        raise LeftError("it is not called as those of transformers are")
    rewritten = DecoderLayer(
        input_norm, attention, attention_norm, mlp, _at_once(input_norm, attention, attention_norm, mlp)
    )
    try:
        is_same = agree(example.call.repeat(rewritten, example.rows.clone(), ListeningStep()), example.output)
    except TROUBLE as error:
        raise LeftError(f"it cannot be computed so ({type(error).__name__})") from error
    if not is_same:
        raise LeftError("it does not add what its parts compute as layers with norms before them do")
    replace_forward(layer, rewritten, ())


def _at_once(
    input_norm: RmsNorm, attention: AttentionBlock, attention_norm: RmsNorm, mlp: GatedMlp
) -> NativeLayer | None:
    """None where a part is not our kernels' in C++."""
    kernels = input_norm.kernels
    qkv, output, gate_up, down = attention.qkv, attention.output, mlp.gate_up, mlp.down
    if not (
        isinstance(kernels, NativeKernels)
        and isinstance(qkv, NativeWeight)
        and isinstance(output, NativeWeight)
        and isinstance(gate_up, NativeWeight)
        and isinstance(down, NativeWeight)
    ):
        return None
    return NativeLayer(
        kernels,
        attention.layer,
        ((input_norm.weight, input_norm.epsilon), (attention_norm.weight, attention_norm.epsilon)),
        (qkv, output, gate_up, down),
        attention.heads,
        attention.settings,
    )
