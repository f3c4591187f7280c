"""RMS norms in one operation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .agreement import TROUBLE, agree, random_rows
from .kernels import LayerKernels

_EPSILONS = ("variance_epsilon", "eps", "epsilon")


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """In place of the forward of a module.

    Attributes:
        weight: `[size]`, that of the module or 1 more.
    """

    kernels: LayerKernels
    weight: torch.Tensor
    epsilon: float

    def rows(self, rows: torch.Tensor) -> torch.Tensor:
        """`[T, size]`, contiguous."""
        return self.kernels.rms_norm(rows, self.weight, self.epsilon)

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        return self.rows(states.reshape(-1, states.shape[-1])).view(states.shape)


def rewritten_norm(module: nn.Module, kernels: LayerKernels) -> RmsNorm | None:
    """What computes the same as `module` does; None if that is no RMS norm over the last dimension.

    Which weight that takes is tried out: in some models it is kept less 1.
    """
    parameters = dict(module.named_parameters())
    epsilon = next((value for name in _EPSILONS if isinstance(value := getattr(module, name, None), float)), None)
    if list(parameters) != ["weight"] or parameters["weight"].dim() != 1 or epsilon is None:
        return None
    weight = parameters["weight"].detach()
    shape = (5, weight.shape[0])
    # Small numbers as well, of which epsilon is a part.
    inputs = [random_rows(shape, weight), random_rows(shape, weight, scale=epsilon**0.5)]
    try:
        expected = [module(rows) for rows in inputs]
        for candidate in _weights(weight):
            norm = RmsNorm(kernels, candidate, epsilon)
            if all(agree(norm(rows), wanted) for rows, wanted in zip(inputs, expected, strict=True)):
                return norm
    except TROUBLE:
        pass
    return None


def _weights(weight: torch.Tensor) -> list[torch.Tensor]:
    one_more = weight.float() + 1
    is_exact = torch.equal(one_more.to(weight.dtype).float(), one_more)
    return [weight, one_more.to(weight.dtype) if is_exact else one_more]
