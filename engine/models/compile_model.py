"""A model's layers through torch.compile: the pointwise work between the products, fused."""

from __future__ import annotations

from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from ..attention.base import register


def compile_layers(module: PreTrainedModel) -> int:
    """Have every decoder layer compiled when it first runs. Returns how many there are.

    Layers are compiled, not the model: they are alike, so one compilation serves all of them, in seconds. The number of
    tokens is left open, so a step of any size runs what has been compiled once. Attention stays as it is: the compiled
    code ends before it and begins again behind it.
    """
    register(is_opaque=True)
    layers = [layer for layer in module.modules() if isinstance(layer, GradientCheckpointingLayer)]
    for layer in layers:
        layer.compile(dynamic=True)
    return len(layers)
