"""MLPs whose gate goes through SiLU: one product for gate and up, and what they gate in one operation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .agreement import TROUBLE, agree, random_rows
from .kernels import LayerKernels, PackedWeight
from .replacing import LeftError, joined_bias, linears_of, replace_forward

_NUM_ROWS = 5
_INPUTS = (("gate_proj", "up_proj"), ("gate_up_proj",))
_OUTPUT = "down_proj"


@dataclass(frozen=True, slots=True)
class GatedMlp:
    """In place of the forward of a module."""

    kernels: LayerKernels
    gate_up: PackedWeight
    down: PackedWeight

    def gated(self, rows: torch.Tensor) -> torch.Tensor:
        """What goes into the last product: `[T, size]` to `[T, intermediate size]`."""
        return self.kernels.gate(self.gate_up.product(rows))

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        return self.down.product(self.gated(states.reshape(-1, states.shape[-1]))).view(states.shape)


def inputs_of_mlp(module: nn.Module) -> tuple[str, ...] | None:
    """The names of the linear layers that a gated MLP begins with; None if `module` is no such thing."""
    children = {name for name, _ in module.named_children()}
    return next((names for names in _INPUTS if {*names, _OUTPUT} <= children), None)


def rewrite_mlp(module: nn.Module, kernels: LayerKernels) -> None:
    """Have an MLP compute in two products, without a second copy of its weights.

    Raises:
        LeftError: it computes something else, and is as it was.
    """
    names = inputs_of_mlp(module)
    assert names is not None
    linears = linears_of(module, (*names, _OUTPUT))
    first = linears[names[0]]
    others = [child for name, child in module.named_children() if name not in linears]
    if any(True for child in others for _ in child.parameters()):
        raise LeftError("its MLP has weights of its own kind")
    sample = random_rows((_NUM_ROWS, first.in_features), first.weight)
    try:
        for child in others:
            if not isinstance(child, nn.Dropout | nn.Identity) and not agree(child(sample), nn.functional.silu(sample)):
                raise LeftError("the gate of its MLP is not SiLU")
        expected = module(sample)
        mlp = GatedMlp(
            kernels,
            kernels.pack([linears[name].weight for name in names], joined_bias([linears[name] for name in names])),
            kernels.pack([linears[_OUTPUT].weight], linears[_OUTPUT].bias),
        )
        is_same = agree(mlp(sample), expected)
    except TROUBLE as error:
        raise LeftError(f"its MLP cannot be computed so ({type(error).__name__})") from error
    if not is_same:
        raise LeftError("its MLP computes something else than a gated MLP does")
    replace_forward(module, mlp, linears)
