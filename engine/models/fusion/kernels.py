"""What rewritten layers ask of a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch


class PackedWeight(Protocol):
    """A matrix of weights `[outputs, inputs]`, with its bias if it has one, laid out as the device likes it best."""

    @property
    def num_outputs(self) -> int:
        """Rows of the matrix."""

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        """`rows @ weight.T + bias`: `[T, inputs]` to `[T, outputs]`."""

    def add_product(self, rows: torch.Tensor, total: torch.Tensor) -> None:
        """The same, added to `total` `[T, outputs]`, in place."""

    def rows(self, indices: torch.Tensor) -> torch.Tensor:
        """Rows of the matrix, `[T]` to `[T, inputs]`: an embedding that shares its weights with the output head.

        Raises:
            IndexError: on CPU, an index is negative or too large.
        """


class LayerKernels(Protocol):
    """The operations of a rewritten layer on one kind of device. Rows are dense: `[T, size]`, contiguous."""

    def pack(
        self, weights: Sequence[torch.Tensor], bias: torch.Tensor | None, *, is_read: bool = False
    ) -> PackedWeight:
        """Matrices `[outputs, inputs]` one below the other, as one. `bias`: `[all outputs]`.

        Nothing of the result is there twice once the caller has dropped `weights`. `is_read`: its `rows` are wanted.
        """

    def rms_norm(self, rows: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        """`rows / sqrt(mean(rows ** 2) + epsilon) * weight`, the mean and the root in float32.

        `weight`: in the dtype of the rows, or in float32.
        """

    def gate(self, gate_up: torch.Tensor) -> torch.Tensor:
        """`silu(gate) * up` of `[T, 2 * size]`, gate first: `[T, size]`."""
