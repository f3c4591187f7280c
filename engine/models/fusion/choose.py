"""Chooses the operations of rewritten layers."""

from __future__ import annotations

import torch

from .kernels import LayerKernels
from .torch_kernels import TorchKernels


def choose_kernels(device: torch.device, dtype: torch.dtype) -> LayerKernels:
    """The fastest that run on `device` with weights of `dtype`."""
    return TorchKernels()
