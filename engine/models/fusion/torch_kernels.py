"""The operations of rewritten layers in plain torch, for any device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from ...attention.unpacking import rms_norm
from .agreement import agree, random_rows
from .kernels import PackedWeight

_REORDERED = (torch.float32, torch.bfloat16)
"""What oneDNN multiplies from a layout of its own on processors of any age."""


@dataclass(frozen=True, slots=True)
class PlainWeight:
    """A matrix as it is. See `PackedWeight`."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    @property
    def num_outputs(self) -> int:
        return self.weight.shape[0]

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.linear(rows, self.weight, self.bias)

    def add_product(self, rows: torch.Tensor, total: torch.Tensor) -> None:
        torch.addmm(total, rows, self.weight.t(), out=total)
        if self.bias is not None:
            total.add_(self.bias)

    def rows(self, indices: torch.Tensor) -> torch.Tensor:
        return functional.embedding(indices, self.weight)


@dataclass(frozen=True, slots=True)
class ReorderedWeight:
    """A matrix in the blocks that oneDNN multiplies from: F.linear would bring it there anew in every call.

    1.3 to 2 times faster than F.linear at 1 to 64 rows. See `PackedWeight`.
    """

    weight: torch.Tensor
    """Opaque: its rows cannot be read."""
    bias: torch.Tensor | None

    @property
    def num_outputs(self) -> int:
        return self.weight.shape[0]

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        return product

    def add_product(self, rows: torch.Tensor, total: torch.Tensor) -> None:
        # `_linear_pointwise.binary` would add as well, but to a new tensor.
        total.add_(self.product(rows))

    def rows(self, indices: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("packed without is_read=True")


class TorchKernels:
    """See `LayerKernels`."""

    def pack(
        self, weights: Sequence[torch.Tensor], bias: torch.Tensor | None, *, is_read: bool = False
    ) -> PackedWeight:
        weight = weights[0].detach() if len(weights) == 1 else torch.cat([weight.detach() for weight in weights])
        bias = None if bias is None else bias.detach()
        reordered = None if is_read else _reordered(weight, bias)
        return PlainWeight(weight, bias) if reordered is None else reordered

    def rms_norm(self, rows: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        if rows.device.type != "cpu" and weight.dtype == rows.dtype:
            return functional.rms_norm(rows, (rows.shape[-1],), weight, epsilon)  # one kernel there, slower on CPU
        return rms_norm(rows, weight, epsilon)

    def gate(self, gate_up: torch.Tensor) -> torch.Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        return functional.silu(gate).mul_(up)


def _reordered(weight: torch.Tensor, bias: torch.Tensor | None) -> ReorderedWeight | None:
    """None where oneDNN cannot, or does not get it right."""
    has_it: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if weight.device.type != "cpu" or weight.dtype not in _REORDERED or not has_it:
        return None
    try:
        packed = ReorderedWeight(torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None), bias)
        rows = random_rows((2, weight.shape[1]), weight)
        is_right = agree(packed.product(rows), functional.linear(rows, weight, bias))
    except (AttributeError, RuntimeError):  # parts of torch that are its own: another version may lack them
        return None
    return packed if is_right else None
