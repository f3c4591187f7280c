"""A whole decoder layer in one call of the kernels in C++: between operations nothing goes through Python."""

from __future__ import annotations

import ctypes

import torch

from ...attention.base import AttentionSettings, PackedHeads, Rotation, StepAttention
from ...attention.paged_native import NativeStep, heads_record
from ...native.layer_kernels import NativeKernels, NativeWeight
from ...native.library import Layer


class NativeLayer:
    """The parts of a decoder layer as the kernels know them (see `engine/native/layer.h`).

    Args:
        kernels: That all parts were packed by.
        layer: Its index.
        norms: Weight and epsilon of the norm before attention, and of the one before the MLP.
        weights: Of the four products in their order.
        heads: How queries, keys and values lie.
        settings: How they attend.
    """

    def __init__(
        self,
        kernels: NativeKernels,
        layer: int,
        norms: tuple[tuple[torch.Tensor, float], tuple[torch.Tensor, float]],
        weights: tuple[NativeWeight, NativeWeight, NativeWeight, NativeWeight],
        heads: PackedHeads,
        settings: AttentionSettings,
    ) -> None:
        self._kernels = kernels
        self._layer = layer
        self._memory = norms, weights, heads  # what the record points into
        (attention_norm, attention_epsilon), (mlp_norm, mlp_epsilon) = norms
        qkv, output, gate_up, down = weights
        self._record = Layer(
            output.num_outputs,
            down.num_inputs,
            attention_norm.data_ptr(),
            mlp_norm.data_ptr(),
            attention_epsilon,
            mlp_epsilon,
            qkv.record,
            output.record,
            gate_up.record,
            down.record,
            heads_record(heads, settings),
        )
        self._sizes = (output.num_outputs, qkv.num_outputs, output.num_inputs, gate_up.num_outputs, down.num_inputs)
        self._at = ctypes.addressof(self._record)

    def run(self, total: torch.Tensor, rotation: Rotation, step: StepAttention) -> bool:
        """Run the layer over `total` `[T, hidden size]`, in place. False: this step attends by something else."""
        if not isinstance(step, NativeStep):
            return False
        backend = step.backend
        rotation = step.rotate_by(rotation)
        workspace = self._kernels.workspace(total.shape[0], self._sizes)
        self._kernels.library.layer(
            total.data_ptr(),
            self._at,
            ctypes.byref(backend.pages[self._layer]),
            ctypes.byref(step.record),
            ctypes.byref(workspace),
            self._kernels.num_threads,
        )
        return True
