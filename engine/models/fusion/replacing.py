"""How parts of a model are taken apart and replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn


class LeftError(Exception):
    """A part stays as it was. The message says why, of a layer: "its MLP ..."."""


def replace_forward(module: nn.Module, forward: Callable[..., Any], dropped: Iterable[str]) -> None:
    """Have `module` compute by `forward`, and drop the children or parameters whose weights that has taken over.

    The module stays where it is, with whatever else its model may ask of it.
    """
    module.forward = forward
    for name in dropped:
        delattr(module, name)


def linears_of(module: nn.Module, names: Sequence[str]) -> dict[str, nn.Linear]:
    """The linear layers of those names.

    Raises:
        LeftError: one of them is of another kind.
    """
    found = {}
    for name in names:
        child = getattr(module, name)
        if type(child) is not nn.Linear:
            raise LeftError(f"its {name} is a {type(child).__name__}")
        found[name] = child
    return found


def joined_bias(linears: Sequence[nn.Linear]) -> torch.Tensor | None:
    """`[all outputs]`, with zeros for those that have none; None if none has any."""
    if all(linear.bias is None for linear in linears):
        return None
    parts = [linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias for linear in linears]
    return torch.cat([part.detach() for part in parts])
