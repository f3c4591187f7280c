"""Chooses the operations of rewritten layers."""

from __future__ import annotations

import importlib.util

import torch

from ...attention.triton_compiler import compiler_problem
from ...native.layer_kernels import NativeKernels
from ...native.library import library_problem, load_library
from .kernels import LayerKernels
from .torch_kernels import TorchKernels

_LEAST_CAPABILITY = (8, 0)


def choose_kernels(device: torch.device, dtype: torch.dtype) -> LayerKernels:
    """The fastest that run on `device` with weights of `dtype`."""
    return (_native_kernels(dtype) if device.type == "cpu" else _triton_kernels(device)) or TorchKernels()


def _triton_kernels(device: torch.device) -> LayerKernels | None:
    """None where Triton is missing, too old a GPU, or no compiler for it: attention says what to do about that."""
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return None
    if torch.cuda.get_device_capability(device) < _LEAST_CAPABILITY:
        return None
    from .triton_kernels import TritonKernels  # Triton: only where it is used

    kernels = TritonKernels()
    row = torch.ones((1, 16), device=device)
    return kernels if compiler_problem(lambda: kernels.rms_norm(row, row[0], 1e-5)) is None else None


def _native_kernels(dtype: torch.dtype) -> LayerKernels | None:
    """None where nothing can be compiled: the engine says so."""
    if library_problem(dtype) is not None:
        return None
    return NativeKernels(load_library(dtype), torch.get_num_threads())
