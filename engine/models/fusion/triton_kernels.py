"""The operations of a rewritten layer on CUDA: work on rows in Triton, products by cuBLAS."""

from __future__ import annotations

import torch

from ...attention.early_launch import early_launch
from ...integers import ceil_div, next_power_of_two
from .row_kernels import gate_kernel, rms_norm_kernel
from .torch_kernels import TorchKernels

_NORM_NUMBERS = 1024
"""Numbers that a program normalises at least: several rows, where these are short."""

_NORM_NUMBERS_A_THREAD = 16
_GATE_NUMBERS = 1024


class TritonKernels(TorchKernels):
    """See `LayerKernels`. Everything can be recorded: grids follow from the number of rows.

    Products of few rows are torch's as well: cuBLAS splits the inputs where a matrix has too few outputs to keep a
    device busy. What it reaches is for a profile to say (`tests/benchmarks/gpu`).
    """

    def rms_norm(self, rows: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        """See `LayerKernels.rms_norm`. What is normalised is rounded to the dtype of the weight before they meet."""
        rows = rows.contiguous()  # norms of models that were rewritten in part may get others
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
        output = gate_up.new_empty((num_rows, size))
        numbers = min(_GATE_NUMBERS, next_power_of_two(size))
        gate_kernel[(ceil_div(size, numbers), num_rows)](
            output, gate_up, SIZE=size, NUMBERS=numbers, num_warps=4, **early_launch()
        )
        return output
