"""Linear layers in a layout that the device likes better, and embeddings that share their weights with one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from .agreement import TROUBLE, agree, random_rows
from .kernels import LayerKernels, PackedWeight
from .replacing import replace_forward

_WEIGHT = ("weight",)


@dataclass(frozen=True, slots=True)
class PackedLinear:
    """In place of the forward of a linear layer."""

    packed: PackedWeight

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        rows = states.reshape(-1, states.shape[-1])
        return self.packed.product(rows).view(*states.shape[:-1], self.packed.num_outputs)


@dataclass(frozen=True, slots=True)
class PackedEmbedding:
    """In place of the forward of an embedding."""

    packed: PackedWeight

    def __call__(self, indices: torch.Tensor) -> torch.Tensor:
        rows = self.packed.rows(indices.reshape(-1))
        return rows.view(*indices.shape, rows.shape[-1])


def rewrite_linears(model: nn.Module, kernels: LayerKernels) -> int:
    """Pack the weights of all linear layers that are left, without a second copy. Returns how many those were.

    A linear layer whose weights others than embeddings use, or use in another way, is left as it was.
    """
    owners: dict[int, list[nn.Module]] = defaultdict(list)  # by identity: a key must not keep a weight
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)].append(module)
    linears = [module for module in model.modules() if type(module) is nn.Linear]
    return sum(_rewrite(linear, owners[id(linear.weight)], kernels) for linear in linears)


def _rewrite(linear: nn.Linear, owners: list[nn.Module], kernels: LayerKernels) -> bool:
    embeddings = [owner for owner in owners if type(owner) is nn.Embedding and owner.max_norm is None]
    if len(embeddings) + 1 != len(owners):
        return False
    sample = random_rows((2, linear.in_features), linear.weight)
    indices = torch.tensor([0, linear.out_features // 2, linear.out_features - 1], device=linear.weight.device)
    try:
        packed = kernels.pack([linear.weight], linear.bias, is_read=bool(embeddings))
        is_same = agree(packed.product(sample), functional.linear(sample, linear.weight, linear.bias))
        if embeddings:
            is_same = is_same and torch.equal(packed.rows(indices), linear.weight[indices])
    except TROUBLE:
        return False
    if is_same:
        replace_forward(linear, PackedLinear(packed), _WEIGHT)
        for embedding in embeddings:
            replace_forward(embedding, PackedEmbedding(packed), _WEIGHT)
    return is_same
