"""The operations of a rewritten layer on CUDA: elementwise work in Triton, products by cuBLAS."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from ...attention.early_launch import early_launch
from ...integers import ceil_div, next_power_of_two
from .row_kernels import gate_kernel, rms_norm_kernel

_NORM_NUMBERS = 1024
"""Numbers that a program normalises at least: several rows, where these are short."""

_NORM_NUMBERS_A_THREAD = 16
_GATE_NUMBERS = 1024


class CudaWeight:
    """See `PackedWeight`: one matrix `[outputs, inputs]`, multiplied by cuBLAS.

    Products of few rows are cuBLAS's as well: it picks kernels that split the inputs where a matrix has too few outputs
    to keep a device busy, and what they reach is for a profile to say (`tests/benchmarks/gpu`).
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.num_outputs = weight.shape[0]
        self._weight = weight
        self._bias = bias

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        """See `PackedWeight.product`."""
        return functional.linear(rows, self._weight, self._bias)

    def add_product(self, rows: torch.Tensor, total: torch.Tensor) -> None:
        """See `PackedWeight.add_product`. The sum is part of the product: it is rounded once, and read once."""
        total.addmm_(rows, self._weight.t())
        if self._bias is not None:
            total += self._bias

    def rows(self, indices: torch.Tensor) -> torch.Tensor:
        """See `PackedWeight.rows`."""
        return functional.embedding(indices, self._weight)


class TritonKernels:
    """See `LayerKernels`. Everything can be recorded: grids follow from the number of rows."""

    def pack(self, weights: Sequence[torch.Tensor], bias: torch.Tensor | None) -> CudaWeight:
        """See `LayerKernels.pack`. A single matrix stays where it is; several are copied into one."""
        return CudaWeight(weights[0] if len(weights) == 1 else torch.cat(list(weights)), bias)

    def rms_norm(self, rows: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        """See `LayerKernels.rms_norm`. What is normalised is rounded to the dtype of the weight before they meet."""
        num_rows, size = rows.shape
        padded = next_power_of_two(size)
        rows_a_program = max(1, _NORM_NUMBERS // padded)
        output = torch.empty_like(rows)
        rms_norm_kernel[(ceil_div(num_rows, rows_a_program),)](
            output,
            rows,
            weight,
            num_rows,
            epsilon,
            SIZE=size,
            SIZE_PADDED=padded,
            ROWS=rows_a_program,
            num_warps=min(16, max(1, padded * rows_a_program // (32 * _NORM_NUMBERS_A_THREAD))),
            **early_launch(),
        )
        return output

    def gate(self, gate_up: torch.Tensor) -> torch.Tensor:
        """See `LayerKernels.gate`."""
        num_rows, size = gate_up.shape[0], gate_up.shape[1] // 2
        output = torch.empty((num_rows, size), dtype=gate_up.dtype, device=gate_up.device)
        numbers = min(_GATE_NUMBERS, next_power_of_two(size))
        gate_kernel[(ceil_div(size, numbers), num_rows)](
            output, gate_up, SIZE=size, NUMBERS=numbers, num_warps=4, **early_launch()
        )
        return output
