"""The operations of a rewritten layer, by the compiled kernels (see `engine/models/fusion/kernels.py`)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch.nn.functional import pad

from ..integers import ceil_div
from .library import NativeLibrary, Weight, Workspace


class NativeWeight:
    """A matrix `[outputs, inputs]` in panels, as products.h has it. See `PackedWeight`.

    Args:
        library: What multiplies by it.
        weights: Matrices `[outputs, inputs]`, one below the other in the result.
        bias: `[all outputs]`.
        num_threads: That share a product.

    Raises:
        ValueError: bfloat16 with an odd number of inputs.
    """

    def __init__(
        self, library: NativeLibrary, weights: Sequence[torch.Tensor], bias: torch.Tensor | None, num_threads: int
    ) -> None:
        self._library = library
        self._num_threads = num_threads
        self.num_outputs = sum(weight.shape[0] for weight in weights)
        self.num_inputs = weights[0].shape[1]
        self._at_once = 4 // library.dtype.itemsize
        if self.num_inputs % self._at_once:
            raise ValueError(f"{self.num_inputs} inputs of bfloat16 are no pairs")
        matrix = weights[0].detach() if len(weights) == 1 else torch.cat([weight.detach() for weight in weights])
        size = library.panel_size
        num_panels = ceil_div(self.num_outputs, size)
        matrix = pad(matrix, (0, 0, 0, num_panels * size - self.num_outputs))
        panels = matrix.view(num_panels, size, self.num_inputs // self._at_once, self._at_once)
        self._panels = panels.permute(0, 2, 1, 3).contiguous()
        self._bias = None if bias is None else bias.detach().contiguous()
        self.record = Weight(self._panels.data_ptr(), pointer(self._bias), self.num_outputs, self.num_inputs)
        self._at = ctypes.addressof(self.record)

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        """See `PackedWeight.product`."""
        result = rows.new_empty(rows.shape[0], self.num_outputs)
        self._multiply(rows, result, is_added=False)
        return result

    def add_product(self, rows: torch.Tensor, total: torch.Tensor) -> None:
        """See `PackedWeight.add_product`."""
        self._multiply(rows, total, is_added=True)

    def rows(self, indices: torch.Tensor) -> torch.Tensor:
        """See `PackedWeight.rows`."""
        if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < self.num_outputs:
            raise IndexError(f"a row outside of 0 to {self.num_outputs - 1}")
        size = self._library.panel_size
        return self._panels[indices // size, :, indices % size].flatten(-2)

    def _multiply(self, rows: torch.Tensor, result: torch.Tensor, *, is_added: bool) -> None:
        assert result.is_contiguous()  # it is written to
        rows = rows.contiguous()
        self._library.product(result.data_ptr(), rows.data_ptr(), rows.shape[0], self._at, is_added, self._num_threads)


class NativeKernels:
    """See `LayerKernels`.

    Args:
        library: The kernels of the model's dtype.
        num_threads: That share an operation.
    """

    def __init__(self, library: NativeLibrary, num_threads: int) -> None:
        self.library = library
        self.num_threads = num_threads
        self._workspaces: dict[tuple[int, ...], tuple[int, Workspace, list[torch.Tensor]]] = {}

    def workspace(self, num_rows: int, sizes: tuple[int, ...]) -> Workspace:
        """Memory for what a layer keeps of so many rows, the same for all layers of these sizes (see layer.h)."""
        known = self._workspaces.get(sizes)
        if known is None or known[0] < num_rows:
            memory = [torch.empty(num_rows, size, dtype=self.library.dtype) for size in sizes]
            known = self._workspaces[sizes] = num_rows, Workspace(*map(pointer, memory)), memory
        return known[1]

    def pack(
        self, weights: Sequence[torch.Tensor], bias: torch.Tensor | None, *, is_read: bool = False
    ) -> NativeWeight:
        """See `LayerKernels.pack`."""
        return NativeWeight(self.library, weights, bias, self.num_threads)

    def rms_norm(self, rows: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        """See `LayerKernels.rms_norm`.

        Raises:
            ValueError: the weight is of another dtype than the library.
        """
        if weight.dtype is not self.library.dtype:
            raise ValueError(f"a weight of {weight.dtype} in a model of {self.library.dtype}")
        rows = rows.contiguous()
        result = torch.empty_like(rows)
        size = rows.shape[-1]
        num_rows = rows.numel() // size
        self.library.rms_norm(
            result.data_ptr(), rows.data_ptr(), weight.data_ptr(), num_rows, size, epsilon, self.num_threads
        )
        return result

    def gate(self, gate_up: torch.Tensor) -> torch.Tensor:
        """See `LayerKernels.gate`."""
        num_rows, size = gate_up.shape[0], gate_up.shape[1] // 2
        gate_up = gate_up.contiguous()
        result = gate_up.new_empty(num_rows, size)
        self.library.gate(result.data_ptr(), gate_up.data_ptr(), num_rows, size, self.num_threads)
        return result


def pointer(tensor: torch.Tensor | None) -> int | None:
    """Where a tensor begins, for a field of a record."""
    return None if tensor is None else tensor.data_ptr()
