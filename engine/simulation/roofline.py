"""How long a step takes on a device of known bandwidth and arithmetic."""

from __future__ import annotations

from ..request import Batch
from .device_profile import DeviceProfile
from .model_shape import ModelShape
from .step_work import StepWork, work_of


class Roofline:
    """Duration of a step: what it moves over the bandwidth, or what it multiplies over the operations per second.

    The larger of the two (Williams et al., "Roofline", 2009), each at the share that real kernels reach, plus what
    every step costs. Moved are the weights once, whatever the number of tokens, and the KV of each sequence:

        bytes = dtype * (dense weights + experts touched + output head if anything is sampled)
                + KV bytes per token * (tokens of all contexts + tokens written)
        operations = 2 * weights a token goes through * tokens + 2 * output head * samples
                     + 4 * layers * query heads * head size * (query, key) pairs

    32-bit weights are multiplied at half the rate. Of E experts a layer with k active, T tokens with independent
    choices touch E * (1 - (1 - k / E) ** T). Where a profile holds steps that were measured, those count instead.
    """

    def __init__(self, shape: ModelShape, device: DeviceProfile, dtype_bytes: int = 2) -> None:
        self._shape = shape
        self._device = device
        self._dtype_bytes = dtype_bytes
        self._bytes_per_s = device.bandwidth_bytes_per_s * device.bandwidth_efficiency
        self._flops_per_s = device.flops_per_s * device.compute_efficiency * 2 / dtype_bytes
        self._kv_bytes = shape.kv_bytes_per_token(dtype_bytes)
        self._flops_per_token = 2 * (shape.dense_params + shape.num_active_experts * shape.expert_params)
        self._flops_per_pair = 4 * shape.num_layers * shape.num_heads * shape.head_size

    @property
    def weight_bytes(self) -> int:
        """All weights."""
        return self._shape.num_params * self._dtype_bytes

    def step_s(self, batch: Batch) -> float:
        """Seconds that the device works on a batch."""
        if self._device.step_s is not None:
            return self._device.step_s
        return self.seconds(work_of(batch, self._shape))

    def seconds(self, work: StepWork) -> float:
        """What was measured of this model on this device, else the formula above."""
        if self._device.steps is not None:
            return self._device.steps.seconds(work)
        shape = self._shape
        weights: float = shape.dense_params + (shape.head_params if work.num_samples else 0)
        if shape.num_experts:
            missed = (1 - shape.num_active_experts / shape.num_experts) ** work.num_tokens
            weights += shape.num_experts * (1 - missed) * shape.expert_params
        moved = weights * self._dtype_bytes + self._kv_bytes * (work.num_context_tokens + work.num_tokens)
        flops: float = self._flops_per_token * work.num_tokens + 2 * shape.head_params * work.num_samples
        flops += self._flops_per_pair * work.num_pairs
        return max(moved / self._bytes_per_s, flops / self._flops_per_s) + self._device.launch_s
