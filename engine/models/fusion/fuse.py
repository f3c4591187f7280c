"""Rewrites what it can of a model, and says what that was."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from ...attention.kv_cache import KVShape
from ...attention.verify import paged_logits
from .agreement import TROUBLE, relative_error
from .attention_block import inputs_of_attention, rewrite_attention
from .calls import Call, calls_of
from .choose import choose_kernels
from .decoder_layer import example_of, rewrite_layer
from .gated_mlp import inputs_of_mlp, rewrite_mlp
from .kernels import LayerKernels
from .linears import rewrite_linears
from .norms import rewritten_norm
from .replacing import LeftError, replace_forward

_MOST_ERROR = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Of the logits of the whole model, relative to their size: what roundings of all layers add up to."""


@dataclass(slots=True)
class FusionReport:
    """What became of a model.

    Attributes:
        num_layers: Decoder layers of the model.
        rewritten: How many parts were rewritten, by kind: layers, attention blocks, MLPs, norms, linear layers. A part
            counts on its own as well as in its layer.
        left: By reason, how many layers were left as they were.
    """

    num_layers: int
    rewritten: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        if self.rewritten["layers"] == self.num_layers:
            return f"{self.num_layers} of {self.num_layers} rewritten"
        reasons = "; ".join(
            reason if count == self.num_layers else f"of {count}, {reason}" for reason, count in self.left.items()
        )
        parts = ", ".join(
            f"{count} {kind if count > 1 else kind.removesuffix('s')}"
            for kind, count in self.rewritten.items()
            if kind != "layers"
        )
        if not self.rewritten:
            return f"left as they are: {reasons}"
        return f"{self.rewritten['layers']} of {self.num_layers} rewritten ({parts}): {reasons}"


def rewrite_model(model: PreTrainedModel, kv_shape: KVShape, expected: torch.Tensor) -> FusionReport | None:
    """Rewrite the layers of a model for its device. None if it is spoilt: then it must be loaded again.

    Args:
        model: As transformers has it.
        kv_shape: What its layers keep.
        expected: Its `paged_logits`, with which those of the rewritten model are compared.
    """
    device = expected.device
    kernels = choose_kernels(device, model.dtype)
    most_error = _MOST_ERROR[model.dtype]
    try:
        report = fuse(model, kernels, device)
        error = relative_error(paged_logits(model, kv_shape, device), expected)
    except torch.OutOfMemoryError:
        raise
    except TROUBLE:
        return None
    return report if error <= most_error else None  # also None when it is not a number


@torch.no_grad()
def fuse(model: PreTrainedModel, kernels: LayerKernels, device: torch.device) -> FusionReport:
    """Rewrite the layers of a model, each part only if it computes the same as before.

    Weights that are packed are dropped where they were, part by part.
    """
    if device.type == "cpu":
        _own_weights(model)
    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    blocks = [block for layer in layers for block in layer.modules() if inputs_of_attention(block)]
    calls = calls_of(model, [*layers, *blocks], device)
    report = FusionReport(len(layers))
    for layer in layers:
        reason = _rewrite_layer(layer, calls, kernels, report)
        if reason is not None:
            report.left[reason] += 1
    _rewrite_norms(model, kernels, report)
    if device.type == "cpu":
        report.rewritten["linear layers"] += rewrite_linears(model, kernels)
    report.rewritten = +report.rewritten
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what is left for KV is read off the driver
    return report


def _own_weights(model: nn.Module) -> None:
    """Copy each weight once. Where they are mapped from a file, any that stayed would keep all of it in memory."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


def _rewrite_layer(
    layer: nn.Module, calls: dict[nn.Module, Call], kernels: LayerKernels, report: FusionReport
) -> str | None:
    """Why the layer stays, if it does."""
    example = example_of(layer, calls.get(layer))
    reasons = []
    for module in list(layer.modules()):
        try:
            if inputs_of_attention(module):
                rewrite_attention(module, calls.get(module), kernels)
                report.rewritten["attention blocks"] += 1
            elif inputs_of_mlp(module):
                rewrite_mlp(module, kernels)
                report.rewritten["MLPs"] += 1
        except LeftError as left:
            reasons.append(str(left))
    _rewrite_norms(layer, kernels, report)
    try:
        rewrite_layer(layer, example)
    except LeftError as left:
        return (reasons or [str(left)])[0]
    report.rewritten["layers"] += 1
    return None


def _rewrite_norms(model: nn.Module, kernels: LayerKernels, report: FusionReport) -> None:
    for module in list(model.modules()):
        norm = None if "forward" in vars(module) else rewritten_norm(module, kernels)
        if norm is not None:
            replace_forward(module, norm, ())
            report.rewritten["norms"] += 1
